"""Shells in place of those of containers: a fake one, and the harness's own in a process."""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

HEAD, SIZE = struct.Struct(">BI"), struct.Struct(">HH")
REAL = (
    "import socket, sys; from harness import terminal;"
    "terminal.serve(socket.socket(fileno=int(sys.argv[1])), ['/bin/sh', '-i'])"
)


class FakeShell:
    """A shell that keeps what is typed, and writes what a test wants."""

    def __init__(self) -> None:
        self.typed = b""
        self.sizes: list[tuple[int, int]] = []
        self.changed = asyncio.Condition()
        self.gone = asyncio.Event()
        self.writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
                content = await reader.readexactly(length)
                if kind:
                    rows, columns = SIZE.unpack(content)
                    self.sizes.append((rows, columns))
                else:
                    self.typed += content
                async with self.changed:
                    self.changed.notify_all()
        self.gone.set()
        writer.close()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(holds)


@asynccontextmanager
async def offered(
    directory: Path,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[None]:
    """Offer a shell in the directory of an agent."""
    await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    # The path of a test's directory may be longer than an address may be.
    folder = os.open(directory, os.O_PATH)
    try:
        server = await asyncio.start_unix_server(serve, f"/proc/self/fd/{folder}/terminal.sock")
        try:
            yield
        finally:
            server.close()
    finally:
        os.close(folder)


async def real(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve a connection with the shell of the harness."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        served = await asyncio.create_subprocess_exec(
            *(sys.executable, "-B", "-c", REAL, str(theirs.fileno())),
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PS1": "$ "},
        )
    shell, keys = await asyncio.open_connection(sock=ours)
    try:
        await asyncio.gather(_copy(reader, keys), _copy(shell, writer))
    finally:
        keys.close()
        await served.wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
