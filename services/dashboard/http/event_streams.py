"""Server-Sent Events: the changes, for every open page, as fast as it reads them."""

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final

from aiohttp import web

from services.dashboard.http.places import Owner, Places
from services.dashboard.state.event_log import Entry, EventLog
from services.dashboard.state.tables import Row

MAX_STREAMS = 256
"""A browser has one for all of its tabs; one without shared workers has one for each tab."""

WRITE_SECONDS = 20.0
"""A page that reads nothing for so long is disconnected; its browser connects again by itself."""

MAX_BATCH = 64 * 1024
"""Bytes written at once: a slow page holds no more memory than this, apart from the log."""

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    # nginx, and proxies that follow it, would hold events back until they fill a buffer.
    "X-Accel-Buffering": "no",
}
"""The headers of a stream."""

FULL = "Too many pages are open: close some, then load this one again."

FAILED = (
    "The dashboard could not read this agent's events. Run `journalctl -u hive-dashboard` to see "
    "why."
)

NO_TAILS: Final[Mapping[str, AsyncGenerator[Row, None]]] = {}

log = logging.getLogger(__name__)


class EventStreams:
    """The open event streams. Each keeps only its place in the log."""

    def __init__(
        self, log: EventLog, limit: int = MAX_STREAMS, write_seconds: float = WRITE_SECONDS
    ) -> None:
        """Stream `log` to at most `limit` pages, each of which reads within `write_seconds`."""
        self._log = log
        self.places = Places(limit, FULL)
        """The places of streams; other answers that last take one, too."""
        self._write_seconds = write_seconds

    async def serve(
        self,
        request: web.Request,
        owner: Owner,
        seconds: float,
        tails: Mapping[str, AsyncGenerator[Row, None]] = NO_TAILS,
    ) -> web.StreamResponse:
        """Stream changes until the page closes, the session ends or the service stops.

        A page that names the last event it has seen (Last-Event-ID) continues from there. A page
        that is new, or has missed changes, first gets `reset`: it must load the state, then apply
        the changes that follow.

        Args:
            request: the page's request.
            owner: the one for whom it is; `end` of its session ends the stream.
            seconds: for how long the session is still valid.
            tails: for each agent, rows that are streamed as events `tail`, too. They share the
                connection, because browsers have only six for all pages of the dashboard.

        Raises:
            LimitExceeded: too many pages are open.
        """
        response = web.StreamResponse(headers=HEADERS)
        end = asyncio.timeout(seconds)
        try:
            async with end:
                with self.places.hold(end, owner):
                    await response.prepare(request)
                    last_id = request.headers.get("Last-Event-ID", "")
                    await self._write_all(response, last_id, tails)
        except* (TimeoutError, ConnectionError):
            # The page is too slow or closed, or its session has ended. Abort: a proper end of the
            # response would wait for a reader that does not read.
            _abort(request)
        return response

    def end(self, session: str) -> None:
        """End the streams of a session."""
        self.places.end(session)

    async def _write_all(
        self,
        response: web.StreamResponse,
        last_id: str,
        tails: Mapping[str, AsyncGenerator[Row, None]],
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            writers = [
                tasks.create_task(self._write_tail(response, agent, tail))
                for agent, tail in tails.items()
            ]
            await self._write(response, last_id)
            for writer in writers:
                writer.cancel()

    async def _write_tail(
        self, response: web.StreamResponse, agent: str, tail: AsyncGenerator[Row, None]
    ) -> None:
        async with aclosing(tail):
            try:
                async for row in tail:
                    await self._send(response, _tail(agent, row))
            except (ConnectionError, TimeoutError):
                raise
            except Exception:
                # The page of a hostile agent goes on with the hive's own tables.
                log.exception("A tail has failed")
                await self._send(response, _tail(agent, {"tail": "away", "reason": FAILED}))

    async def _write(self, response: web.StreamResponse, last_id: str) -> None:
        place = self._log.seq_of(last_id)
        while not self._log.closed:
            entries = None if place is None else self._log.entries_after(place)
            if place is None or entries is None:
                place = self._log.seq
                await self._send(response, _reset(self._log.event_id(place)))
            elif entries:
                for batch in _batches(entries):
                    await self._send(response, batch)
                place = entries[-1].seq
            else:
                await self._log.wait_after(place)

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        async with asyncio.timeout(self._write_seconds):
            await response.write(data)


def _abort(request: web.Request) -> None:
    """End a connection, and drop what the page has not read.

    Without SO_LINGER the kernel would keep that for minutes, for a page that reads nothing.
    """
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()


def _tail(agent: str, row: Row) -> bytes:
    """Return a row of a tail; it has no id, which is the number of a change in the log."""
    data = json.dumps({"of": agent, **row}, separators=(",", ":"))
    return f"event: tail\ndata: {data}\n\n".encode()


def _reset(event_id: str) -> bytes:
    return f"event: reset\nid: {event_id}\ndata: {{}}\n\n".encode()


def _batches(entries: list[Entry]) -> list[bytes]:
    """Return the entries as SSE text, in pieces of about MAX_BATCH bytes."""
    if len(entries) == 1:
        return [entries[0].data]
    batches = [bytearray()]
    for entry in entries:
        if len(batches[-1]) > MAX_BATCH:
            batches.append(bytearray())
        batches[-1] += entry.data
    return [bytes(batch) for batch in batches]
