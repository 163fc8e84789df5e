"""The harness of an agent as its page sees it: events on a socket, which tests add."""

import asyncio
import json
import re
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NOW = 1_780_000_000
"""Seconds since 1970."""

HEAD = "HTTP/1.1 {}\r\nContent-Type: {}\r\nConnection: close\r\n"


class FakeHarness:
    """The events, the turns and the state of an agent, and the server of its web.sock."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.turns: list[dict[str, Any]] = []
        self.days: list[dict[str, Any]] = []
        self.todo: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {
            "state": "idle",
            "since": NOW,
            "model": "claude-test",
            "effort": "high",
            "session": "11111111-2222",
            "context_tokens": 50_000,
            "context_limit": 200_000,
            "cost_today_usd": 1.25,
            "stored": True,
        }
        self.journal: list[dict[str, Any]] = []
        self.first = 1
        self.hangs_after: int | None = None
        """The number of the last event that it shows before it answers no more."""
        self.requests: list[str] = []
        self.ended = asyncio.Event()
        """Set when a stream has ended."""
        self._sent: list[tuple[str, int, Any]] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[StreamWriter] = []
        self._server: asyncio.Server | None = None

    def add(self, kind: str, turn: int | None = None, **data: Any) -> int:
        """Add an event."""
        return self.add_raw({"turn": turn, "type": kind, "data": data})

    def add_raw(self, event: dict[str, Any]) -> int:
        """Add an event as it is, with a number and a time unless it has them."""
        seq = self.events[-1]["seq"] + 1 if self.events else self.first
        event = {"seq": seq, "at": NOW + len(self.events), **event}
        self.events.append(event)
        self.tell("event", event, event["seq"])
        return seq

    def say(self, **state: Any) -> None:
        """Change the state, and report it."""
        self.state.update(state)
        self.tell("state", dict(self.state))

    def tell(self, name: str, data: Any, seq: int = 0) -> None:
        """Send something to the streams that are open."""
        self._sent.append((name, seq, data))
        self._wake()

    def raw(self, data: bytes) -> None:
        """Send bytes to the streams that are open."""
        self.tell("raw", data)

    def log(self, message: str, **values: Any) -> None:
        """Write a line of the container's journal, and send it to the streams."""
        number = len(self.journal) + 1
        line = {"cursor": f"s=1;i={number}", "at": NOW, "message": message, "identifier": "x"}
        self.journal.append({**line, **values})
        self.tell("line", self.journal[-1])

    async def start(self, directory: Path) -> None:
        """Serve `directory`/web.sock."""
        directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - in a test
        self._server = await asyncio.start_unix_server(self._connected, directory / "web.sock")

    async def stop(self) -> None:
        """End the streams and remove the socket."""
        if self._server is None:
            return
        for listening in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        # A connection that the loop has accepted needs the server for four more steps: without it,
        # asyncio drops the connection and does not close it.
        for _ in range(8):
            await asyncio.sleep(0)
        self._server.close()
        self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:  # a client that reads nothing would keep the rest
            if writer.transport.get_write_buffer_size():
                writer.transport.abort()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._server is None:  # accepted just before `stop`
                writer.transport.abort()
                return
            head = await reader.readuntil(b"\r\n\r\n")
            await self._answer(head.split(b" ")[1].decode(), writer, reader)
        except (OSError, EOFError):
            pass  # the client has closed
        finally:
            writer.close()
            self._tasks.discard(task)
            self._writers.append(writer)

    async def _answer(self, target: str, writer: StreamWriter, reader: StreamReader) -> None:
        self.requests.append(target)
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
        numbers = {key: int(value) for key, value in query.items() if value.isdigit()}
        if path in ("/v1/stream", "/v1/journal/stream"):
            writer.write(HEAD.format("200 OK", "text/event-stream").encode() + b"\r\n")
            await self._stream(numbers.get("after", 0), writer, reader)
            return
        turn = re.fullmatch(r"/v1/turns/(\d+)", path)
        if path == "/v1/state":
            answer: Any = {**self.state, **self._bounds()}
        elif path == "/v1/events":
            if self.hangs_after is not None and numbers.get("after", 0) >= self.hangs_after:
                await asyncio.Event().wait()
            answer = self._events(**numbers)
        elif path == "/v1/turns":
            answer = self._turns(**numbers)
        elif path == "/v1/todo":
            answer = {"items": self.todo}
        elif path == "/v1/journal":
            found = [line for line in self.journal if query.get("text", "") in line["message"]]
            answer = {"lines": found[-numbers["lines"] :]}
        elif path == "/v1/stats":
            answer = {"days": self.days}
        elif turn:
            answer = next((one for one in self.turns if one["id"] == int(turn[1])), None)
        else:
            answer = None
        status = "200 OK" if answer is not None else "404 Not Found"
        body = json.dumps(answer or {"error": "There is no such thing."}).encode()
        head = HEAD.format(status, "application/json") + f"Content-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _bounds(self) -> dict[str, int]:
        numbers = [event["seq"] for event in self.events]
        return {
            "first_seq": numbers[0] if numbers else 0,
            "last_seq": numbers[-1] if numbers else 0,
        }

    def _events(
        self, limit: int, before: int = 2**62, after: int | None = None, turn: int | None = None
    ) -> dict[str, Any]:
        found = [
            event
            for event in self.events
            if (after or 0) < event["seq"] < before and turn in (None, event["turn"])
            if self.hangs_after is None or event["seq"] <= self.hangs_after
        ]
        found = found[-limit:] if after is None else found[:limit]
        return {"events": found, **self._bounds()}

    def _turns(self, limit: int, before: int = 2**62) -> dict[str, Any]:
        found = [turn for turn in reversed(self.turns) if turn["id"] < before]
        return {"turns": found[:limit]}

    async def _stream(self, after: int, writer: StreamWriter, reader: StreamReader) -> None:
        place = len(self._sent)
        closed = asyncio.ensure_future(reader.read())
        try:
            for event in list(self.events):
                if event["seq"] > after:
                    writer.write(_sse("event", event["seq"], event))
            while not closed.done():
                changed = asyncio.ensure_future(self._changed.wait())
                for name, seq, data in self._sent[place:]:
                    place += 1
                    writer.write(data if name == "raw" else _sse(name, seq, data))
                await writer.drain()
                if place == len(self._sent):
                    await asyncio.wait([changed, closed], return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            closed.cancel()
            self.ended.set()


def _sse(name: str, seq: int, data: Any) -> bytes:
    number = f"id: {seq}\n" if seq else ""
    return f"{number}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def a_busy_turn(harness: FakeHarness) -> None:
    """Add the events of turn 7, one of most kinds."""
    woken = [{"id": 41, "from": "operator", "kind": "message"}]
    harness.add("wake", 7, messages=woken, prompt="Please mend the parser.")
    servers = [{"name": "hyperhive", "status": "connected"}, {"name": "gh", "status": "failed"}]
    harness.add(
        "session", 7, model="claude-test", tools=["Bash"], mcp_servers=servers, resumed=True
    )
    harness.add("thinking", 7, text="The last line has no newline.")
    harness.add("text", 7, text="I'll look at the parser.")
    harness.add("tool-use", 7, id="t1", tool="Bash", input={"command": "pytest -q"})
    harness.add("tool-result", 7, id="t1", content="1 failed", error=True)
    edit = {"file_path": "/src/parser.py", "old_string": "a\nb\n", "new_string": "a\nc\nd\n"}
    harness.add("tool-use", 7, id="t2", tool="Edit", input=edit)
    body = "The parser is mended. " * 500
    send = {"to": "manager", "body": body + "The end."}
    harness.add("tool-use", 7, id="t3", tool="mcp__hive__send", input=send)
    harness.add("server-failed", 7, name="gh", error="spawn gh ENOENT")
    harness.add("denied", 7, tool="WebFetch", reason="agent.toml does not allow it.")
    harness.add("compacted", 7, trigger="auto", before=181_000, after=23_000)
    harness.add("note", 7, text="The notes were condensed.", level="info")
    harness.add("turn-end", 7, outcome="done", error="", seconds=72.4, cost_usd=0.1834)


def a_turn(number: int, **values: Any) -> dict[str, Any]:
    """Return a turn that has ended."""
    return {
        "id": number,
        "started": NOW + number * 60,
        "ended": NOW + number * 60 + 12.5,
        "outcome": "done",
        "woken_by": [{"id": 100 + number, "from": "operator", "kind": "message"}],
        "model": "claude-test",
        "session": "11111111-2222",
        "seconds": 12.5,
        "first_request_ms": 40,
        "first_token_ms": 900,
        "input_tokens": 1200,
        "output_tokens": 340,
        "cache_read_tokens": 48_000,
        "cache_write_tokens": 800,
        "context_tokens": 50_000,
        "cost_usd": 0.0421,
        "tool_calls": 3,
        "tools": {"Bash": 2, "Write": 1},
        "open_threads": 1,
        "open_reminders": 0,
        "error": "",
        **values,
    }


@asynccontextmanager
async def serving(harness: FakeHarness, directory: Path) -> AsyncIterator[FakeHarness]:
    """Serve a harness's socket."""
    await harness.start(directory)
    try:
        yield harness
    finally:
        await harness.stop()
