"""`python -m harness.port PORT`: passes connections on to a port of the container's loopback.

systemd passes the listening socket. The program ends when nobody has been connected for a while.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Final

LISTENING: Final = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""
LOOPBACK: Final = ("127.0.0.1", "::1")
IDLE: Final = 60.0
CHUNK: Final = 64 * 1024


class Port:
    """One port of the loopback."""

    def __init__(self, number: int, idle: float = IDLE) -> None:
        """`idle`: the seconds without a connection after which `serve` returns."""
        self._number = number
        self._idle = idle
        self._connections: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Event()

    async def serve(self, listening: socket.socket) -> None:
        """Pass connections on until there have been none for `idle` seconds."""
        loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(self._accept, sock=listening)
        timer = loop.call_later(self._idle, self._quiet.set)
        async with server:
            while True:
                await self._quiet.wait()
                self._quiet.clear()
                timer.cancel()
                if not self._connections:
                    return
                await asyncio.wait(self._connections)
                timer = loop.call_later(self._idle, self._quiet.set)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a connection is a task
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            await self._pass_on(reader, writer)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for host in LOOPBACK:
            with suppress(OSError):
                theirs, ours = await asyncio.open_connection(host, self._number)
                break
        else:
            print(f"nothing listens on port {self._number}", file=sys.stderr)  # noqa: T201
            return
        try:
            await asyncio.gather(_copy(reader, ours), _copy(theirs, writer))
        finally:
            ours.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy to the end of one direction, and end it at the other side."""
    with suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


if __name__ == "__main__":
    asyncio.run(Port(int(sys.argv[1])).serve(socket.socket(fileno=LISTENING)))
