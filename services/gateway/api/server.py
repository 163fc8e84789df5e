"""The HTTP server on api.sock: aiohttp's connections on accepted sockets."""

import asyncio
import logging
import socket
from typing import Final

from aiohttp import web

from services.gateway.api import errors
from services.gateway.api.handler import Handler

log = logging.getLogger(__name__)

IDLE_SECONDS: Final = 60.0
"""Seconds that a connection may take for the head of its next request."""
LINGER_SECONDS: Final = 1.0
"""Seconds for which the rest of a refused body is read, so that its client reads the refusal."""
MAX_FIELD: Final = 16 * 1024
MAX_FIELDS: Final = 100


_NO_LOG: Final = logging.getLogger(f"{__name__}.access")
"""A log that is never written: requests are in the ledger, and an agent could flood the journal."""
_NO_LOG.disabled = True


class _Connection(web.RequestHandler):
    """A connection of aiohttp that tells its end, and answers errors in the form of the API."""

    __slots__ = ("ended",)

    ended: "asyncio.Future[None]"

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if not self.ended.done():
            self.ended.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that is not HTTP, and after an error of ours; log only the latter."""
        if status >= 500:
            log.error("A request failed.", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("a part of the answer has been sent")
        sentence = "the request is not valid HTTP." if status < 500 else "the gateway failed."
        response = errors.ApiError(status, sentence).response()
        response.force_close()
        return response


class ApiServer:
    """The server of the Messages API of one agent."""

    def __init__(self, handler: Handler) -> None:
        self._server = web.Server(handler.handle, handler_cancellation=True)

    async def drain(self, patience: float) -> None:
        """End idle connections now, and the others after the request that they carry.

        Args:
            patience: the seconds after which requests are cut off.
        """
        self._server.pre_shutdown()  # else idle connections are waited for, too
        await self._server.shutdown(patience)

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connection until it ends; end it when cancelled."""
        loop = asyncio.get_running_loop()
        protocol = _Connection(
            self._server,
            loop=loop,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            access_log=_NO_LOG,
            max_field_size=MAX_FIELD,
            max_headers=MAX_FIELDS,
            auto_decompress=False,
        )
        protocol.ended = loop.create_future()
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
        try:
            await protocol.ended
        finally:
            transport.abort()
