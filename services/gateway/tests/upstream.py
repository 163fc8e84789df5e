"""An upstream that answers what a test says, byte for byte, and keeps what it was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Sent"], Awaitable[None]]


@dataclass
class Sent:
    """A request as the upstream got it."""

    first: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass
class FakeUpstream:
    """A server; `act` answers each request."""

    act: Act
    sent: list[Sent] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a connection of a client has ended."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head[:-4].split("\r\n")
                pairs = [line.split(": ", 1) for line in lines]
                sent = Sent(first, [(key, value) for key, value in pairs])
                length = sent.all("content-length")
                sent.body = await reader.readexactly(int(length[0])) if length else b""
                self.sent.append(sent)
                self.asked.set()
                await self.act(reader, writer, sent)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self.gone.set()
            writer.close()


@asynccontextmanager
async def upstream(act: Act) -> AsyncIterator[FakeUpstream]:
    """Run an upstream."""
    fake = FakeUpstream(act)
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(fake.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=2**20)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def saying(answer: bytes, *, close: bool = True) -> Act:
    """Return an act that sends `answer`, and closes the connection or waits."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
        writer.write(answer)
        await writer.drain()
        if close:
            writer.close()

    return act


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> None:
    """Answer nothing until the client goes."""
    await reader.read(-1)


def http(
    body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json"
) -> bytes:
    """Return a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers]).encode() + b"\r\n\r\n" + body


def message(**usage: int) -> dict[str, object]:
    """Return a message of the API with its use."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test-1",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5, **usage},
    }


def event(kind: str, **values: object) -> bytes:
    """Return an event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **values})}\n\n".encode()


def delta(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


BEGIN = event("message_start", message={**message(output_tokens=1), "content": []})
END = event(
    "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 42}
) + event("message_stop")

TEXT = (
    event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + delta("Hello.")
    + event("content_block_stop", index=0)
)

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    """Return a chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
