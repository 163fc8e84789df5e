"""The way of a request: let through, bounded, reserved, passed on, settled."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from aiohttp import web

from services.gateway.api import body, headers, routes
from services.gateway.api.body import Asked
from services.gateway.api.errors import NO_RETRY, ApiError
from services.gateway.api.exchange import Exchange
from services.gateway.api.reservations import NotReservedError, Reservation, Reservations
from services.gateway.api.routes import Route
from services.gateway.api.upstream import Upstream
from services.gateway.credentials import DEFAULT, NONE, SCRIPTED, Credential, own
from services.gateway.ledger import Ledger
from services.gateway.settings import Settings
from services.gateway.settlements import Settlements

ANTHROPIC: Final = "https://api.anthropic.com"
"""The upstream that always needs a credential."""
BODIES: Final = 4
"""How many bodies of the greatest length may be in memory at once."""
WAIT_SECONDS: Final = 60.0
"""Seconds that a request waits for the bodies of others to go."""


class Handler:
    """The handler of the requests of one agent."""

    def __init__(
        self,
        agent: str,
        settings: Callable[[], Settings],
        credential: Credential | None,
        ledger: Ledger,
        settlements: Settlements,
        upstream: Upstream,
        max_body: int,
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._credential = credential
        self._settlements = settlements
        self._upstream = upstream
        self._max_body = max_body
        self._room = BODIES * max_body
        self._freed = asyncio.Event()
        self._reservations = Reservations(ledger, settlements)
        self._under_way = 0
        self._calm = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the ends of all requests, which are cancelled by their connections."""
        while self._under_way:
            self._calm.clear()
            await self._calm.wait()
        await self._reservations.wait()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        self._under_way += 1
        try:
            return await self._handle(request)
        finally:
            self._under_way -= 1
            self._calm.set()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route = routes.find(request.method, request.raw_path)
        try:
            if route is Route.ALIVE:
                return web.Response()
            if route is None:
                raise ApiError(
                    404,
                    "the gateway lets only requests for messages, their tokens and models through.",
                )
            return await self._pass_on(request, route)
        except ApiError as error:
            response = error.response()
            if not request.content.at_eof():
                response.force_close()  # what is left of the body is not read
            return response

    async def _pass_on(self, request: web.BaseRequest, route: Route) -> web.StreamResponse:
        settings = self._settings()
        if not settings.upstream:
            raise ApiError(503, f"the gateway of {self._agent} is not configured yet.")
        credential = self._credential_for(settings)
        length = self._length(request)
        await self._take_room(length)
        try:
            exchange = await self._read(request, route, settings, credential)
            reservation = self._reservations.begin(exchange.asked, credential.name)
            try:
                return await self._send(request, exchange, reservation)
            finally:
                reservation.end(exchange.settlement())
        finally:
            self._room += length
            self._freed.set()

    async def _send(
        self, request: web.BaseRequest, exchange: Exchange, reservation: Reservation
    ) -> web.StreamResponse:
        """Send a request once it is reserved. Until then it is prepared, as a rule: there is a
        connection, and all but the sending is done."""
        if exchange.body and self._reservations.likely:
            await reservation.asked()
            with contextlib.suppress(NotReservedError):
                return await exchange.run(request, self._upstream, reservation.at_once)
        await reservation.wait()
        return await exchange.run(request, self._upstream, reservation.at_once)

    def _credential_for(self, settings: Settings) -> Credential:
        """Return the credential for the upstream.

        Raises:
            ApiError: there is none, and the upstream needs one.
        """
        if settings.scripted:
            return SCRIPTED
        credential = self._credential
        if credential is not None and not (settings.own_upstream and credential.name == DEFAULT):
            return credential
        if settings.upstream != ANTHROPIC:
            # Another service may need none. The limits of one that the agent has alone are its own.
            return own(self._agent, "") if settings.own_upstream else NONE
        raise ApiError(
            401,
            f"there is no credential for {self._agent}. The operator stores one with "
            "`hivectl credentials set`.",
            NO_RETRY,
        )

    async def _read(
        self, request: web.BaseRequest, route: Route, settings: Settings, credential: Credential
    ) -> Exchange:
        """Read the whole request; return the one that goes upstream."""
        data = await body.read(request, self._max_body)
        return Exchange(
            _asked(route, data),
            request.method,
            settings.upstream + request.raw_path,
            headers.request(request.headers.items(), credential, settings.auth),
            data,
        )

    def _length(self, request: web.BaseRequest) -> int:
        """Return the most memory that the body may take."""
        if request.content_length is None:
            return self._max_body if request.can_read_body else 0
        return min(request.content_length, self._max_body)

    async def _take_room(self, length: int) -> None:
        """Wait until bodies of others have left room for one of `length` bytes."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while self._room < length:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise ApiError(
                503, "too many long requests are under way. Try again.", {"Retry-After": "2"}
            ) from None
        self._room -= length


def _asked(route: Route, data: bytes) -> Asked:
    match route:
        case Route.MESSAGES:
            return body.message(data)
        case Route.COUNT_TOKENS:
            return body.count(data)
        case _:
            if data:
                raise ApiError(400, "a request for models has no body.")
            return Asked("", 0, 0)
