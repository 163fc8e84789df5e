"""A listening socket from systemd: accepts connections up to a limit, and counts them.

asyncio's own server may drop a connection that it accepted just before it is closed. This one
accepts and counts in one step, so that a service that ends because it is idle loses none: after
`stop` the kernel queues new connections, and systemd starts the next service for them.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final

from services.tasks import Tasks

log = logging.getLogger(__name__)

BATCH: Final = 64
"""Connections that are accepted in one turn of the loop, so that a flood cannot starve it."""
REFUSAL_SECONDS: Final = 1.0
"""Seconds that a client above the limit has to read why it is refused."""
PAUSE: Final = 1.0
"""Seconds without accepting after the kernel had no descriptor or memory for a connection."""

Serve = Callable[[socket.socket], Coroutine[object, None, None]]
"""Serves a connection to its end, and closes it."""


class Listener:
    """The connections of one listening socket; `len` is how many there are."""

    def __init__(
        self,
        listener: socket.socket,
        serve: Serve,
        *,
        limit: int,
        full: bytes,
        changed: Callable[[], None],
    ) -> None:
        """Prepare to accept.

        Args:
            listener: bound and listening.
            serve: serves a connection.
            limit: the most connections at once.
            full: the answer to a connection above the limit, which is closed.
            changed: called when a connection begins or ends.
        """
        listener.setblocking(False)
        self._listener = listener
        self._serve = serve
        self._limit = limit
        self._full = full
        self._changed = changed
        self._connections = Tasks()
        self._refusals = Tasks()
        self._pause: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def start(self) -> None:
        """Accept from now on, also those that wait already."""
        self._pause = None
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more; connections that exist stay."""
        if self._pause is not None:
            self._pause.cancel()
        elif self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())

    async def close(self) -> None:
        """Accept no more, and end the connections."""
        self.stop()
        await self._connections.cancel()
        await self._refusals.cancel()
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(BATCH):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("A connection could not be accepted: %s.", error)
                self.stop()
                # No event tells that there is memory again.
                self._pause = asyncio.get_running_loop().call_later(PAUSE, self.start)
                return
            connection.setblocking(False)
            if len(self._connections) >= self._limit:
                self._refuse(connection)
                continue
            self._connections.start_detached(
                self._serve(connection), "connection", done=partial(self._ended, connection)
            )
            self._changed()

    def _ended(self, connection: socket.socket) -> None:
        connection.close()
        self._changed()

    def _refuse(self, connection: socket.socket) -> None:
        if len(self._refusals) >= self._limit:
            connection.close()
            return
        self._refusals.start_detached(_refuse(connection, self._full), done=connection.close)


async def _refuse(connection: socket.socket, answer: bytes) -> None:
    """Answer a connection, and let its client read the answer before it is closed."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(REFUSAL_SECONDS):
            await loop.sock_sendall(connection, answer)
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, 65536):
                pass  # what the client sends is of no use
