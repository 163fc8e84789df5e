"""The proxy on proxy.sock: one request after the other on each connection of a client."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from services.gateway.egress.decision import Decision, Refused, Target, Unreachable
from services.gateway.egress.report import EgressReports
from services.gateway.forge.connection import TARGET as FORGE
from services.gateway.forge.connection import ForgeAccess
from services.gateway.proxy import target as targets
from services.gateway.proxy.clienthello import HANDSHAKE
from services.gateway.proxy.connect import connect, streams
from services.gateway.proxy.forward import Forward, Rewritten, rewritten
from services.gateway.proxy.head import Ended, HeadError, Request, read_request
from services.gateway.proxy.relay import Limits, Streams, put
from services.gateway.proxy.tunnel import Tunnel
from services.seldom import Seldom
from wire.records.ledger import EgressOutcome

log = logging.getLogger(__name__)

HEAD_SECONDS: Final = 30.0
"""Seconds that a connection may take for the head of its next request."""
CLOSE_SECONDS: Final = 5.0
"""Seconds that a client may take for the end of an answer before its connection is cut."""

MAX_REASON: Final = 300
"""Characters of a logged reason: the client writes a part of it."""

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Passage:
    """The bytes of one request, counted for the ledger and for its limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.sent_bytes = 0
        self.received_bytes = 0

    def sent(self, length: int) -> None:
        """Count bytes to the server."""
        self.sent_bytes += length
        self._limits.count(length)

    def received(self, length: int) -> None:
        """Count bytes to the client."""
        self.received_bytes += length
        self._limits.count(length)


@dataclass(eq=False, frozen=True, slots=True)
class Way:
    """A connection to a server."""

    server: Streams
    target: Target
    is_allowed: Callable[[], bool]
    """Returns whether the settings still allow it."""


class ProxyServer:
    """The proxy of one agent."""

    def __init__(
        self,
        decision: Decision,
        forge: ForgeAccess,
        reports: EgressReports,
        idle_timeout: float,
        max_transfer: int,
    ) -> None:
        self._decision = decision
        self._forge = forge
        self._reports = reports
        self._idle_timeout = idle_timeout
        self._max_transfer = max_transfer
        self._complaint = Seldom()
        self._open: dict[Way, Callable[[], None]] = {}
        """The connections to servers, and how to end each."""

    def look_again(self) -> None:
        """End the connections that the settings do not allow any more."""
        for way, end in list(self._open.items()):
            self._look(way, end)

    async def serve(self, connection: socket.socket) -> None:
        """Serve a connection until it ends; end it when cancelled."""
        client = await streams(connection)
        try:
            while await self._request(client):
                pass
            client.writer.close()
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.writer.wait_closed()
        except (OSError, Ended, TimeoutError):
            pass  # the client has gone, or takes nothing
        finally:
            client.abort()

    async def _request(self, client: Streams) -> bool:
        """Serve the next request; return whether there may be another one after it.

        Raises:
            Ended, OSError, TimeoutError: the client has gone.
        """
        target: Target | None = None
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                request = await read_request(client.reader)
            if request.method == "CONNECT":
                target = targets.of_connect(request.target)
                await self._tunnel(client, target)
                return False
            target, path = targets.of_http(request.target)
            return await self._forward(client, request, target, path)
        except HeadError as error:
            answer = targets.answer(400, f"Hyperhive: {error}")
        except Refused as error:
            if target is not None and not error.counted:
                self._reports.add(target, EgressOutcome.REFUSED)
            answer = targets.answer(403, str(error), error.cause)
        except Unreachable as error:
            if target is not None:
                self._reports.add(target, EgressOutcome.FAILED)
            answer = targets.answer(502, str(error), "destination_unavailable")
        client.writer.write(answer)
        return False

    async def _tunnel(self, client: Streams, target: Target) -> None:
        way = await self._connect(target)
        server = way.server

        def end() -> None:
            client.abort()
            server.abort()

        limits = Limits(self._idle_timeout, self._max_transfer, end)
        passage = Passage(limits)
        tunnel = Tunnel(client, server, target, passage.sent, passage.received)
        try:
            with self._followed(way, end):
                await put(client, _ESTABLISHED, passage.received)
                begun = b""
                if target.port == targets.HTTP and isinstance(target.host, str):
                    begun = await client.reader.read(1)
                if begun and (begun[0] != HANDSHAKE or target == FORGE):
                    await self._inner(client, way, begun, passage)
                else:
                    await tunnel.run(begun)
        finally:
            limits.close()
            server.abort()
            self._passed(target, passage)
        if tunnel.refusal:
            self._reports.add(target, EgressOutcome.REFUSED)
            # An alert of TLS has no room for the reason.
            if self._complaint.due():
                reason = tunnel.refusal[:MAX_REASON]
                log.warning("A connection to %s was refused in its tunnel: %s.", target, reason)

    async def _inner(self, client: Streams, way: Way, begun: bytes, passage: Passage) -> None:
        """Serve the only request of plain HTTP in a tunnel: its `Host` may name another server."""
        async with asyncio.timeout(HEAD_SECONDS):
            request = await read_request(client.reader, begun)
        path = targets.of_inner(request, way.target)
        outgoing = self._rewritten(request, way.target, path)
        forward = Forward(client, request, outgoing, passage.sent, passage.received, last=True)
        await _exchange(forward, way)

    async def _forward(self, client: Streams, request: Request, target: Target, path: str) -> bool:
        # Before the connection: the framing of the request may be invalid.
        way: Way | None = None

        def end() -> None:
            if way is not None:
                way.server.abort()
            if forward.answered:
                client.abort()

        limits = Limits(self._idle_timeout, self._max_transfer, end)
        passage = Passage(limits)
        try:
            outgoing = self._rewritten(request, target, path)
            forward = Forward(client, request, outgoing, passage.sent, passage.received)
            way = await self._connect(target)
            with self._followed(way, end):
                return await _exchange(forward, way)
        finally:
            limits.close()
            if way is not None:
                way.server.abort()
                self._passed(target, passage)

    async def _connect(self, target: Target) -> Way:
        """Connect to `target`, if that is allowed; count it.

        Raises:
            Refused, Unreachable: it is not, or it fails.
        """
        is_allowed: Callable[[], bool]
        if target.host == FORGE.host:
            site = self._forge.site(target)
            server = await self._forge.connect(site)
            is_allowed = partial(self._forge.still_allows, site)
        else:
            permission = await self._decision.permission(target)
            address, server = await connect(permission.addresses, target)
            is_allowed = partial(self._decision.still_allows, target, address, once=permission.once)
        self._reports.add(target, EgressOutcome.ALLOWED)
        return Way(server, target, is_allowed)

    def _rewritten(self, request: Request, target: Target, path: str) -> Rewritten:
        """Return a request as the server gets it.

        Raises:
            HeadError, Refused: the forge does not get it.
        """
        if target.host != FORGE.host:
            return rewritten(request, target, path)
        return self._forge.rewritten(request, path, self._forge.site(target))

    @contextmanager
    def _followed(self, way: Way, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` if the settings do not allow a connection any more."""
        self._open[way] = end
        try:
            self._look(way, end)  # they may have changed while it was opened
            yield
        finally:
            del self._open[way]

    def _look(self, way: Way, end: Callable[[], None]) -> None:
        if not way.is_allowed():
            end()

    def _passed(self, target: Target, passage: Passage) -> None:
        """Count the bytes of a connection, which was counted when it began."""
        sent, received = passage.sent_bytes, passage.received_bytes
        self._reports.add(target, EgressOutcome.ALLOWED, 0, sent=sent, received=received)


async def _exchange(forward: Forward, way: Way) -> bool:
    """Send a request, and pass its answer on; return whether the client may send another.

    Raises:
        Unreachable: there is no answer.
        OSError: the answer broke off.
    """
    try:
        return await forward.run(way.server)
    except (OSError, Ended, HeadError) as error:
        if forward.answered:
            raise ConnectionResetError(str(error)) from None
        raise Unreachable(
            f"Hyperhive: {way.target} did not answer the request: {_reason(error)}."
        ) from None


def _reason(error: Exception) -> str:
    match error:
        case Ended():
            return "it closed the connection"
        case HeadError():
            return "its answer is not valid HTTP"
        case _:
            return "the connection broke"
