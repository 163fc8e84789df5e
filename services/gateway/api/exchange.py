"""One request from its preparation to its settlement, and the answer in between."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from services.gateway.api import errors, headers, limits
from services.gateway.api.body import Asked
from services.gateway.api.errors import ApiError
from services.gateway.api.limits import Limits
from services.gateway.api.upstream import Upstream, reason
from services.gateway.api.usage import StreamReader, Usage, of_message
from wire.records.ledger import RequestOutcome, Settlement

MAX_ANSWER: Final = 64 * 2**20
"""Bytes of a streamed answer: twice the longest one, with the frames of its events."""
MAX_WHOLE: Final = 8 * 2**20
"""Bytes of an answer in one piece, which is checked before it is passed on."""
MAX_ERROR: Final = 64 * 1024
MAX_SECONDS: Final = 3600.0
"""The longest time of one answer."""
CLIENT_SECONDS: Final = 120.0
"""Seconds for which one answer may wait for a client that does not read, in total. Meanwhile the
reservation takes room in budgets that others share."""

_JSON: Final = "application/json"


@dataclass(slots=True)
class Exchange:
    """A request, which leaves as soon as it is reserved."""

    asked: Asked
    method: str
    url: str
    headers: "CIMultiDict[str]"
    body: bytes
    started: float = field(default_factory=time.monotonic)
    usage: Usage = field(default_factory=Usage)
    outcome: RequestOutcome = RequestOutcome.REFUSED
    status: int = 0
    limits: Limits = field(default_factory=Limits)
    first_byte: float = 0.0
    sent: int = 0
    received: int = 0

    async def run(
        self, request: web.BaseRequest, upstream: Upstream, reserved: Callable[[], Awaitable[None]]
    ) -> web.StreamResponse:
        """Prepare the request, send it when it is reserved, and pass the answer on to the client.

        Args:
            request: the client's request.
            upstream: the connections.
            reserved: returns when the request is reserved; what it raises is raised, and nothing is
                sent.

        Raises:
            ApiError: there is no answer that can be passed on, and nothing of it was.
            asyncio.CancelledError: the client has gone.
        """

        async def leave() -> None:
            await reserved()
            self.outcome = RequestOutcome.FAILED
            self.started = time.monotonic()
            self.sent = len(self.body)

        try:
            async with (
                asyncio.timeout(MAX_SECONDS),
                upstream.send(self.method, self.url, self.headers, self.body, leave) as response,
            ):
                return await self._answer(request, response)
        except TimeoutError:
            raise ApiError(504, f"there was no answer within {MAX_SECONDS:.0f} s.") from None
        except ApiError:
            if self.outcome is RequestOutcome.REFUSED:
                self.outcome = RequestOutcome.FAILED  # there was no connection to leave on
            raise
        except asyncio.CancelledError:
            if self.outcome is not RequestOutcome.REFUSED:
                self.outcome = RequestOutcome.DONE if self.usage.complete else RequestOutcome.BROKEN
            raise

    async def _answer(
        self, request: web.BaseRequest, response: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        self.first_byte = time.monotonic()
        self.body = b""  # it may be large, and the answer may take long
        self.status = response.status
        self.limits = limits.read(response.status, response.headers)
        if response.status != 200:
            return await self._error(response)
        # From here on something is used, also when the answer cannot be passed on.
        self.outcome = RequestOutcome.BROKEN
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ApiError(502, "the Messages API compressed its answer, which it was told not to.")
        match response.content_type:
            case "text/event-stream":
                return await self._stream(request, response)
            case "application/json":
                return await self._whole(response)
            case _:
                raise ApiError(502, "the answer of the Messages API is neither JSON nor a stream.")

    async def _error(self, response: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass an error on, if it is one of the API; else one that says so."""
        body = await self._read(response, MAX_ERROR)
        if response.content_type != _JSON or not 400 <= response.status < 600:
            raise ApiError(
                response.status if 400 <= response.status < 600 else 502,
                f"the Messages API answered {response.status} without an error of its own.",
            )
        return web.Response(
            status=response.status, body=body, headers=headers.response(response.headers.items())
        )

    async def _whole(self, response: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass an answer in one piece on, after a check."""
        body = await self._read(response, MAX_WHOLE)
        generates = self.asked.output_tokens > 0
        if generates and not of_message(body, self.usage):
            raise ApiError(502, "the answer of the Messages API is not a message with its use.")
        self.outcome = RequestOutcome.DONE
        return web.Response(body=body, headers=headers.response(response.headers.items()))

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        parts: list[bytes] = []
        while part := await self._piece(response):
            if self.received > limit:
                raise ApiError(502, f"the answer of the Messages API has more than {limit} bytes.")
            parts.append(part)
        return b"".join(parts)

    async def _piece(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the next piece of an answer, as it has come; b"" at its end.

        Raises:
            ApiError: it broke off.
        """
        try:
            piece = await response.content.readany()
        except (aiohttp.ClientError, aiohttp.ServerTimeoutError, OSError) as error:
            raise ApiError(
                502, f"the answer of the Messages API broke off: {reason(error)}."
            ) from None
        self.received += len(piece)
        return piece

    async def _stream(
        self, request: web.BaseRequest, response: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        """Pass a stream on, each piece as soon as it has come."""
        client = web.StreamResponse(headers=headers.response(response.headers.items()))
        reader = StreamReader(self.usage)
        await client.prepare(request)
        try:
            patience = CLIENT_SECONDS
            while piece := await self._piece(response):
                began = time.monotonic()
                try:
                    async with asyncio.timeout(max(patience, 0)):
                        await client.write(piece)
                finally:
                    reader.feed(piece)  # also if the client has gone
                patience -= time.monotonic() - began
                if self.received > MAX_ANSWER:
                    raise ApiError(502, f"the answer has more than {MAX_ANSWER} bytes.")
        except ApiError as error:
            await _break_off(request, client, reader, str(error))
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        if self.usage.complete:
            self.outcome = RequestOutcome.DONE
        return client

    def settlement(self) -> Settlement:
        """Return the use of the request, as far as it is known."""
        now = time.monotonic()
        use = self.usage
        if self.outcome is RequestOutcome.BROKEN:
            use.estimate(
                now - self.started, self.body, self.asked.input_tokens, self.asked.output_tokens
            )
        return Settlement(
            outcome=self.outcome,
            status=self.status,
            model=use.model,
            input_tokens=use.input_tokens,
            output_tokens=use.output_tokens,
            cache_read_tokens=use.cache_read_tokens,
            cache_write_tokens=use.cache_write_tokens,
            cache_write_hour_tokens=use.cache_write_hour_tokens,
            web_searches=use.web_searches,
            surcharge=use.surcharge,
            first_byte=_microseconds(self.started, self.first_byte),
            last_byte=_microseconds(self.started, now) if self.first_byte else 0,
            sent=self.sent,
            received=self.received,
            limited_until=self.limits.limited_until,
            remaining_requests=self.limits.remaining_requests,
            remaining_tokens=self.limits.remaining_tokens,
            remaining_until=self.limits.remaining_until,
        )


async def _break_off(
    request: web.BaseRequest, client: web.StreamResponse, reader: StreamReader, sentence: str
) -> None:
    """End a stream with an error if it can take one, else in its middle."""
    if reader.between_events:
        await client.write(errors.event(sentence))
    elif request.transport is not None:
        request.transport.abort()


def _microseconds(since: float, until: float) -> int:
    return max(0, round((until - since) * 1_000_000))
