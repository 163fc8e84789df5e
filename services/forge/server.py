"""The connections of the forge: one request on each, and the end of an idle service."""

import asyncio
import logging
import socket
from http import HTTPStatus
from typing import Final

from services.forge.forge import Forge
from services.forge.http import MAX_HEAD, Gone, Refused, answer, read
from services.listener import Listener

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 32
CLOSE_SECONDS: Final = 5.0
"""Seconds that a client has to read its answer."""
IDLE_SECONDS: Final = 3600.0
"""Seconds without a connection after which the service ends. Not fewer: see Bounds."""
_FULL: Final = answer(
    HTTPStatus.SERVICE_UNAVAILABLE, "Too many requests are running. Send it again."
)


class Server:
    """The server on one listening socket."""

    def __init__(
        self, listener: socket.socket, forge: Forge, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        """Prepare to serve.

        Args:
            listener: bound and listening.
            forge: handles the requests.
            idle_seconds: see IDLE_SECONDS.
        """
        self._forge = forge
        self._idle_seconds = idle_seconds
        self._idle = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._listener = Listener(
            listener, self._serve, limit=MAX_CONNECTIONS, full=_FULL, changed=self._changed
        )

    def start(self) -> None:
        """Serve the connections, also those that waited."""
        self._listener.start()
        self._changed()

    async def run(self) -> None:
        """Return when there was no connection for a while; then none is accepted any more."""
        await self._idle.wait()

    async def close(self) -> None:
        """End every connection. Events that are cut off are not confirmed."""
        if self._timer is not None:
            self._timer.cancel()
        await self._listener.close()

    def _changed(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not len(self._listener):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._idle_seconds, self._end)

    def _end(self) -> None:
        # Nothing is lost: connections are accepted and counted in one step.
        self._listener.stop()
        self._idle.set()

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_HEAD)
        try:
            writer.write(await self._answer(reader))
            writer.write_eof()
            async with asyncio.timeout(CLOSE_SECONDS):
                await writer.drain()
                # Closing with unread bytes would reset the connection, and with it the answer.
                while await reader.read(MAX_HEAD):
                    pass
        except (OSError, TimeoutError, Gone):
            pass  # the client has left, or reads nothing
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """Return the answer to the request of a connection.

        Raises:
            Gone, OSError: there is none.
        """
        try:
            return answer(HTTPStatus.OK, await self._forge.receive(await read(reader)))
        except Refused as error:
            return answer(error.status, str(error))
        except (Gone, OSError):
            raise
        except Exception:
            log.exception("A request failed.")
            return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "The request failed; see the journal.")
