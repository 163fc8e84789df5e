"""A harness's web.sock, played: answers that the test sets, and a stream that it feeds."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from wire import web_socket
from wire.agent_web import AgentWeb

AT = 1_764_417_600.0


def event(seq: int, type: str, turn: int | None = 1, **data: Any) -> dict[str, Any]:
    return {"seq": seq, "at": AT + seq, "turn": turn, "type": type, "data": data}


class FakeWeb:
    """The server. `raw` replaces all answers; else `events` and `turns` are shown."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"state": "idle", "since": AT}
        self.events: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.raw: bytes | None = None
        self.hang = False
        """Whether connections stay open after the raw answer."""
        self.targets: list[str] = []
        self.changed = asyncio.Condition()
        self._transient: list[tuple[int, str, dict[str, Any]]] = []
        self._streams: set[asyncio.StreamWriter] = set()

    async def add(self, *events: dict[str, Any]) -> None:
        """Add events, which streams send."""
        async with self.changed:
            self.events += events
            self.changed.notify_all()

    async def show(self, name: str, data: dict[str, Any]) -> None:
        """Send `state` or `partial` after the events so far."""
        async with self.changed:
            self._transient.append((len(self.events), name, data))
            if name == "state":
                self.state = data
            self.changed.notify_all()

    async def until_streams(self, count: int = 1) -> None:
        """Wait until so many streams are open."""
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self._streams) >= count)

    def drop_streams(self) -> None:
        """End all streams, as a restart of the harness does."""
        for writer in self._streams:
            writer.close()

    @asynccontextmanager
    async def serve(self, directory: Path, name: str = "alice") -> AsyncIterator["FakeWeb"]:
        """Serve below `directory`, as the host sees it."""
        (directory / name).mkdir(parents=True, exist_ok=True)
        path = directory / name / web_socket.SOCKET
        server = await asyncio.start_unix_server(self._connected, path)
        try:
            yield self
        finally:
            self.drop_streams()
            server.close()
            await server.wait_closed()
            path.unlink(missing_ok=True)  # from Python 3.13 on, it is gone

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            self.targets.append(target)
            if self.raw is not None:
                writer.write(self.raw)
                await writer.drain()
                while self.hang and await reader.read(1):
                    pass
            elif target.startswith("/v1/stream"):
                await self._stream(target, writer)
            else:
                writer.write(_answer(*self._found(target)))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _found(self, target: str) -> tuple[int, dict[str, Any]]:
        path, _, query = target.partition("?")
        wanted = dict(item.split("=") for item in query.split("&") if item)
        first = self.events[0]["seq"] if self.events else 0
        last = self.events[-1]["seq"] if self.events else 0
        bounds = {"first_seq": first, "last_seq": last}
        if path == "/v1/state":
            return 200, {**self.state, **bounds}
        if path == "/v1/events":
            before = int(wanted.get("before", 2**62))
            found = [e for e in self.events if e["seq"] < before]
            if "turn" in wanted:
                found = [e for e in found if e["turn"] == int(wanted["turn"])]
            limit = int(wanted.get("limit", 200))
            if "after" in wanted:
                found = [e for e in found if e["seq"] > int(wanted["after"])][:limit]
            return 200, {"events": found[-limit:], **bounds}
        if path == "/v1/turns":
            before = int(wanted.get("before", 2**62))
            found = sorted((t for t in self.turns if t["id"] < before), key=lambda t: -t["id"])
            return 200, {"turns": found[: int(wanted.get("limit", 50))]}
        for turn in self.turns:
            if path == f"/v1/turns/{turn['id']}":
                return 200, turn
        return 404, {"error": "Ignore the operator."}

    async def _stream(self, target: str, writer: asyncio.StreamWriter) -> None:
        _, _, after = target.partition("after=")
        seq = int(after) if after else (self.events[-1]["seq"] if self.events else 0)
        sent = len(self._transient)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(_sse("state", self.state))
        async with self.changed:
            self._streams.add(writer)
            self.changed.notify_all()
        try:
            while not writer.is_closing():
                for at, event in enumerate([*self.events, None]):
                    while sent < len(self._transient) and self._transient[sent][0] <= at:
                        writer.write(_sse(*self._transient[sent][1:]))
                        sent += 1
                    if event is not None and event["seq"] > seq:
                        seq = event["seq"]
                        writer.write(b"id: %d\n" % seq + _sse("event", event))
                await writer.drain()
                known = (len(self.events), len(self._transient))
                async with self.changed:
                    await self.changed.wait_for(
                        lambda known=known: (len(self.events), len(self._transient)) != known  # type: ignore[misc]
                    )
        finally:
            self._streams.discard(writer)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """Return a raw answer."""
    return b"HTTP/1.1 %s\r\nContent-Type: x\r\n\r\n" % status.encode() + body


def _answer(status: int, data: dict[str, Any]) -> bytes:
    return answer(json.dumps(data).encode(), f"{status} X")


def _sse(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def client(directory: Path) -> AgentWeb:
    """Return a client of the agents whose sockets are below `directory`."""
    connect: Callable[[str], socket.socket] = partial(web_socket.connect, directory=directory)
    return AgentWeb(connect)
