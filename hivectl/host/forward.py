"""A port of this host's loopback that leads to a port in an agent's container.

The container's end is a socket in a directory of the container, which may be hostile: it gets the
bytes of the connection, and nothing else.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from hivectl.exit_codes import CommandError, Exit
from wire.errors import Unavailable

LOOPBACK: Final = "127.0.0.1"
MAX_CONNECTIONS: Final = 256
CHUNK: Final = 64 * 1024

Open = Callable[[], socket.socket]
"""Opens a connection into the container; raises Unavailable."""


class Forward:
    """The connections that are passed on."""

    def __init__(self, open_port: Open, failed: Callable[[str], None]) -> None:
        """Pass connections on to those that `open_port` opens; `failed` hears why one fails."""
        self._open = open_port
        self._failed = failed
        self._connections: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on until both sides have ended it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is a task
        self._connections.add(task)
        try:
            if len(self._connections) <= MAX_CONNECTIONS:
                await self._pass_on(reader, writer)
        finally:
            self._connections.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = self._open()
        except Unavailable as error:
            self._failed(str(error))
            return
        theirs, ours = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, ours))
                both.create_task(_copy(theirs, writer))
        finally:
            ours.close()


@asynccontextmanager
async def forwarding(
    local: int, open_port: Open, failed: Callable[[str], None]
) -> AsyncIterator[int]:
    """Listen on the loopback for as long as the context lasts; yield the port.

    Args:
        local: the port; 0 for any.
        open_port: opens a connection into the container.
        failed: called with a sentence when that fails.

    Raises:
        CommandError: the port is taken, or may not be used.
    """
    forward = Forward(open_port, failed)
    try:
        server = await asyncio.start_server(forward.accept, LOOPBACK, local, limit=CHUNK)
    except OSError as error:
        raise CommandError(
            Exit.CONFLICT,
            f"Port {local} of {LOOPBACK} cannot be used: {error.strerror}. Give another one with "
            "--local.",
        ) from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await forward.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction to its end, and end it at the other side."""
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()
