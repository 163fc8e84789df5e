"""The client of the upstream: one request, whose answer is handed on as it comes.

A request is prepared before it may leave: there is a connection, and the head is made. aiohttp
keeps the head until the first bytes of the body, and these wait.
"""

import io
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

from services.gateway.api.errors import ApiError
from services.gateway.api.headers import SKIPPED

log = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 10.0
KEEP_SECONDS: Final = 60.0
"""Seconds that a connection to the upstream is kept for the next request."""
LARGE: Final = 512 * 1024
"""Bytes of a body above which it is written in pieces, so that other streams are not delayed."""
READ_SIZE: Final = 64 * 1024


Leave = Callable[[], Awaitable[None]]
"""Returns when a request may leave, or raises the reason for which it may not."""


class _Held(aiohttp.Payload):
    """A body that waits until it may leave, and the head with it."""

    _autoclose = True  # there is nothing to close

    def __init__(self, body: bytes, leave: Leave) -> None:
        super().__init__(body)
        self._size = len(body)
        self._body = (
            aiohttp.BytesIOPayload(io.BytesIO(body))
            if len(body) > LARGE
            else aiohttp.BytesPayload(body)
        )
        self._leave = leave
        self.error: Exception | None = None
        """The reason for which it did not leave."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self._body.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body when it may leave."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the body when it may leave."""
        try:
            await self._leave()
        except Exception as error:
            self.error = error
            raise
        await self._body.write_with_length(writer, content_length)


class Upstream:
    """The connections to the upstream."""

    def __init__(self, idle_timeout: float) -> None:
        """Open no connection yet.

        Args:
            idle_timeout: the seconds without a byte after which an answer is given up.
        """
        self._session = aiohttp.ClientSession(
            # As many connections as the clients have. The context is made here, because it takes
            # long and would delay the first request.
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=KEEP_SECONDS, ssl=ssl.create_default_context()
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_timeout
            ),
            skip_auto_headers=SKIPPED,
            read_bufsize=READ_SIZE,
        )
        self._failing = ""
        """The reason why there was no answer the last time, which is logged once."""

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @asynccontextmanager
    async def send(
        self, method: str, url: str, headers: "CIMultiDict[str]", body: bytes, leave: Leave
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and yield the answer when its head has arrived.

        Args:
            method: the method.
            url: the address.
            headers: all headers but those of the connection.
            body: the body.
            leave: returns when the request may leave, of which nothing is sent before.

        Raises:
            ApiError: no answer came, or its head is not HTTP.
            Exception: `leave` raised it.
        """
        if not body:
            await leave()  # aiohttp would send the head at once
        held = _Held(body, leave) if body else None
        try:
            # The address is used exactly as it was checked.
            response = await self._session.request(
                method,
                URL(url, encoded=True),
                data=held,
                headers=headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            if held is not None and held.error is not None:
                raise held.error from None
            why = f"the Messages API cannot be reached: {reason(error)}."
            if why != self._failing:
                # Claude Code repeats the request, and tells the agent no more than the status.
                log.warning("%s", why[0].upper() + why[1:])
                self._failing = why
            raise ApiError(502, why) from None
        self._failing = ""
        _end_with_connection(response)
        try:
            yield response
        finally:
            # A connection whose answer was read to its end is kept; any other one is closed.
            response.release() if response.content.at_eof() else response.close()


def _end_with_connection(response: aiohttp.ClientResponse) -> None:
    """End the answer when its connection ends.

    aiohttp's parser forgets the answer whose chunk it cannot parse: its reader would wait forever.
    """
    content = response.content
    if content.is_eof() or response.connection is None or response.connection.protocol is None:
        return
    closed = response.connection.protocol.closed
    if closed is not None:
        closed.add_done_callback(lambda _: _end(content))


def _end(content: aiohttp.StreamReader) -> None:
    if not content.is_eof() and content.exception() is None:
        content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


def reason(error: BaseException) -> str:
    """Return the reason of a failure in words, without the upstream's text."""
    match error:
        case TimeoutError():
            return "it did not answer in time"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientConnectorError() | ConnectionRefusedError():
            return "no connection could be opened"
        case (
            aiohttp.ServerDisconnectedError()
            | aiohttp.ClientOSError()
            | aiohttp.ClientPayloadError()
        ):
            return "it closed the connection"
        case _:
            return "its answer is not valid HTTP"
