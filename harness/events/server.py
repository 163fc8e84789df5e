"""The server of the record, for the host's dashboard and hivectl: HTTP on a unix socket.

It is read-only. It keeps no events for its clients: each stream reads the next events from the
record when its client has taken the ones before, so a slow client costs only its connection.
"""

import asyncio
import importlib
import json
import logging
import socket
import stat
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.events.journal import BusyError, Journal
from harness.events.store import EventStore
from harness.jsonvalues import Json, JsonObject

if TYPE_CHECKING:
    from aiohttp import web

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 64
MAX_STREAMS: Final = 16
WRITE_TIMEOUT: Final = 30.0
"""Seconds that a client may take to read what it was sent."""
PING: Final = 20.0
"""Seconds without anything to send after which a stream sends a comment."""
COALESCE: Final = 0.05
"""Seconds in which changes are sent together."""
PARTIAL_RATE: Final = 200_000.0
"""Characters a second of partial text, which is sent again as a whole whenever it has grown."""


class WebServer:
    """The server; `run` serves until cancelled.

    aiohttp is loaded for the first client: it needs 13 MB and 0.2 s of processor time, which an
    agent that nobody watches saves.
    """

    def __init__(
        self,
        store: EventStore,
        path: Path,
        todo: Callable[[], JsonObject] = lambda: {"items": []},
        journal: Journal | None = None,
    ) -> None:
        """Prepare the server.

        Args:
            store: the record.
            path: the socket.
            todo: returns the answer to /v1/todo.
            journal: the reader of the container's journal.
        """
        self._store = store
        self._path = path
        self._todo = todo
        self._journal = journal or Journal()
        self._streams = 0

    async def run(self) -> None:
        """Serve until cancelled. Without the directory of the socket, nobody can watch."""
        try:
            listening = _listen(self._path)
        except OSError as exc:
            log.warning("nobody can watch this agent: %s: %s", self._path, exc.strerror or exc)
            return
        try:
            await _readable(listening)
            await self._serve(listening)
        finally:
            listening.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, listening: socket.socket) -> None:
        web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")
        app = web.Application()
        app.add_routes(
            [
                web.get("/v1/state", self._state),
                web.get("/v1/events", self._events),
                web.get("/v1/stream", self._stream),
                web.get("/v1/turns", self._turns),
                web.get("/v1/turns/{id}", self._turn),
                web.get("/v1/stats", self._stats),
                web.get("/v1/todo", self._shown_todo),
                web.get("/v1/journal", self._journal_page),
                web.get("/v1/journal/stream", self._journal_stream),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, keepalive_timeout=30.0)
        await runner.setup()
        try:
            serve = runner.server
            assert serve is not None  # noqa: S101

            def connected() -> asyncio.BaseProtocol:
                full = len(serve.connections) >= MAX_CONNECTIONS
                return _Refusal() if full else serve()

            server = await asyncio.get_running_loop().create_unix_server(
                connected, sock=listening, backlog=MAX_CONNECTIONS
            )
            async with server:
                await server.serve_forever()
        finally:
            await runner.cleanup()

    # --- answers -----------------------------------------------------------------------------

    async def _state(self, request: "web.Request") -> "web.Response":
        return _answer(self._store.shown_status())

    async def _events(self, request: "web.Request") -> "web.Response":
        before, after = _number(request, "before"), _number(request, "after")
        limit, turn = _number(request, "limit") or 200, _number(request, "turn")
        if after is None:
            found = self._store.events.before(before, limit, turn)
        else:
            found = self._store.events.after(after, limit, turn)
        first, last = self._store.events.bounds()
        shown = [event.json() for event in found]
        return _answer({"events": shown, "first_seq": first, "last_seq": last})

    async def _turns(self, request: "web.Request") -> "web.Response":
        limit = _number(request, "limit") or 50
        return _answer({"turns": self._store.turns.page(_number(request, "before"), limit)})

    async def _turn(self, request: "web.Request") -> "web.Response":
        number = _parsed(request.match_info["id"])
        turn = self._store.turns.one(number) if number is not None else None
        if turn is None:
            return _answer({"error": "There is no such turn."}, 404)
        return _answer(turn)

    async def _stats(self, request: "web.Request") -> "web.Response":
        days = min(_number(request, "days") or 30, 90)
        return _answer({"days": self._store.turns.days(days)})

    async def _shown_todo(self, request: "web.Request") -> "web.Response":
        return _answer(self._todo())

    async def _journal_page(self, request: "web.Request") -> "web.Response":
        query = request.query
        try:
            lines = await self._journal.page(
                _number(request, "lines") or 200,
                priority=_number(request, "priority"),
                text=query.get("text", ""),
                before=query.get("before", ""),
            )
        except BusyError:
            return _answer({"error": "Too many processes read the journal already."}, 503)
        except (OSError, TimeoutError):
            return _answer({"error": "The journal of the container cannot be read."}, 503)
        return _answer({"lines": [*lines]})

    async def _journal_stream(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        after, priority = request.query.get("after", ""), _number(request, "priority")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        try:
            await response.prepare(request)
            async with aclosing(self._journal.follow(after, priority=priority, ping=PING)) as lines:
                async for line in lines:
                    data = ": \n\n" if line is None else f"event: line\n{_data(line)}\n\n"
                    async with asyncio.timeout(WRITE_TIMEOUT):
                        await response.write(data.encode())
        except (BusyError, OSError, TimeoutError):
            # A client that is gone or does not read, or no journal: the client may try again.
            if request.transport is not None:
                request.transport.abort()
        return response

    # --- the stream --------------------------------------------------------------------------

    async def _stream(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web

        if self._streams >= MAX_STREAMS:
            return _answer({"error": f"There are {MAX_STREAMS} streams already."}, 503)
        after = _number(request, "after")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        stream, changed = _Stream(self._store, response, after), asyncio.Event()
        self._streams += 1
        self._store.watch(changed)
        try:
            await response.prepare(request)
            await stream.run(changed)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._store.unwatch(changed)
            self._streams -= 1
        return response


class _Stream:
    """The stream of one client: how far it is, and the last state and text that it has."""

    def __init__(
        self, store: EventStore, response: "web.StreamResponse", after: int | None
    ) -> None:
        self._store = store
        self._response = response
        _, last = store.events.bounds()
        # A number from a record that is lost: the client continues with what comes.
        self._seq = last if after is None else min(after, last)
        self._state: JsonObject = {}
        self._partial: JsonObject | None = None
        self._partial_due = 0.0

    async def run(self, changed: asyncio.Event) -> None:
        """Send until the client is gone.

        Raises:
            ConnectionError: the client is gone.
            TimeoutError: the client does not read.
        """
        clock = asyncio.get_running_loop().time
        while True:
            changed.clear()
            await self._send_state()
            await self._send_events()
            wait = await self._send_partial(clock())
            try:
                async with asyncio.timeout(wait):
                    await changed.wait()
            except TimeoutError:
                if wait == PING:
                    await self._write(": \n\n")
            # Not a poll: a change came. The next ones follow at once, and are sent with one write.
            await asyncio.sleep(COALESCE)

    async def _send_events(self) -> None:
        while events := self._store.events.after(self._seq):
            lines = (f"id: {e.seq}\nevent: event\n{_data(e.json())}\n\n" for e in events)
            await self._write("".join(lines))
            self._seq = events[-1].seq

    async def _send_state(self) -> None:
        state = self._store.shown_status()
        moving = ("first_seq", "last_seq", "cost_today_usd")
        kept = {key: value for key, value in state.items() if key not in moving}
        if kept != self._state:
            self._state = kept
            await self._write(f"event: state\n{_data(state)}\n\n")

    async def _send_partial(self, now: float) -> float:
        """Send the partial text if it is time; return the seconds to wait for changes."""
        partial = self._store.shown_partial()
        if partial is None or partial == self._partial:
            return PING
        if now < self._partial_due:
            return self._partial_due - now
        self._partial = partial
        self._partial_due = now + len(partial["text"]) / PARTIAL_RATE
        await self._write(f"event: partial\n{_data(partial)}\n\n")
        return PING

    async def _write(self, text: str) -> None:
        async with asyncio.timeout(WRITE_TIMEOUT):
            await self._response.write(text.encode())


class _Refusal(asyncio.Protocol):
    """A connection over the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, in the place of one of an earlier process.

    Everybody may connect who can reach the directory: its parent on the host belongs to root.
    """
    if path.is_socket():
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.bind(str(path))
        path.chmod(stat.S_IMODE(0o666))
        listening.listen(MAX_CONNECTIONS)
    except BaseException:
        listening.close()
        raise
    return listening


async def _readable(listening: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connected = asyncio.Event()
    loop.add_reader(listening, connected.set)
    try:
        await connected.wait()
    finally:
        loop.remove_reader(listening)


def _answer(data: Json, status: int = 200) -> "web.Response":
    from aiohttp import web

    return web.json_response(data, status=status, headers={"Cache-Control": "no-store"})


def _data(value: Json) -> str:
    return f"data: {json.dumps(value)}"


def _number(request: "web.Request", name: str) -> int | None:
    """Return a parameter; a number that is missing or wrong counts as not given."""
    return _parsed(request.query.get(name, ""))


def _parsed(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
