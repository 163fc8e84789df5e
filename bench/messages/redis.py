"""Redis Streams, doing the same: a stream for each receiver, synced before each answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

from bench.messages.measure import Pair, opened
from bench.messages.server import running

_GROUP: Final = "agents"

Reply: TypeAlias = "str | list[Reply]"


class Client:
    """One connection, with the part of the protocol that is needed here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, socket: Path) -> "Client":
        """Connect."""
        return cls(*await opened(asyncio.open_unix_connection(socket)))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def ask(self, *commands: list[str]) -> Reply:
        """Send the commands together; return the answer to the last one."""
        self._writer.write(b"".join(map(_encode, commands)))
        answer: Reply = ""
        for _ in commands:
            answer = await self._answer()
        return answer

    async def _answer(self) -> Reply:
        line = (await self._reader.readline())[:-2].decode()
        kind, rest = line[:1], line[1:]
        match kind:
            case "-" | "":
                raise RuntimeError(f"Redis: {rest or 'hung up'}")
            case "$":
                return (await self._reader.readexactly(int(rest) + 2))[:-2].decode()
            case "*":
                return [await self._answer() for _ in range(int(rest))]
        return rest


def _encode(words: list[str]) -> bytes:
    parts = [f"*{len(words)}\r\n"]
    parts += [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return "".join(parts).encode()


class Sender:
    """Adds to one stream."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream

    async def send(self, body: str) -> None:
        """See measure.Sender."""
        await self._client.ask(["XADD", self._stream, "*", "body", body])


class Receiver:
    """The one member of the group of a stream."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._held: list[list[str]] = []

    async def receive(self) -> None:
        """See measure.Receiver."""
        read = ["XREADGROUP", "GROUP", _GROUP, "one", "COUNT", "8", "BLOCK", "0"]
        read += ["STREAMS", self._stream, ">"]
        match await self._client.ask(*self._held, read):
            case [[_, [*entries]]]:
                # An entry begins with its id.
                ids = [str(entry[0]) for entry in entries]
            case other:
                raise RuntimeError(f"Redis: {other}")
        self._held = [["XACK", self._stream, _GROUP, *ids]]

    async def finish(self) -> None:
        """See measure.Receiver."""
        await self._client.ask(*self._held)
        self._held = []


@asynccontextmanager
async def pairs(folder: Path, number: int) -> AsyncIterator[list[Pair]]:
    """Run a server that keeps its data in `folder`, and `number` pairs on it."""
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    options += ["--appendonly", "yes", "--appendfsync", "always"]
    async with running("ready to accept connections", "redis-server", *options):
        clients = [await Client.connect(socket) for _ in range(2 * number)]
        made = []
        for i in range(number):
            sender, receiver = clients[2 * i : 2 * i + 2]
            await receiver.ask(["XGROUP", "CREATE", f"to-{i}", _GROUP, "$", "MKSTREAM"])
            made.append(Pair(Sender(sender, f"to-{i}"), Receiver(receiver, f"to-{i}")))
        try:
            yield made
        finally:
            for client in clients:
                client.close()
