"""The proxy on proxy.sock: one request after the other on each connection of a client."""

import asyncio
import logging
import socket
from typing import Final

from services.gateway.egress.decision import Decision, Refused, Target, Unreachable
from services.gateway.egress.report import EgressReports
from services.gateway.proxy import target as targets
from services.gateway.proxy.connect import connect, streams
from services.gateway.proxy.forward import Forward
from services.gateway.proxy.head import Ended, HeadError, Request, read_request
from services.gateway.proxy.relay import Limits, Streams, put
from services.gateway.proxy.tunnel import Tunnel
from services.gateway.seldom import Seldom
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


class ProxyServer:
    """The proxy of one agent."""

    def __init__(
        self, decision: Decision, reports: EgressReports, idle_timeout: float, max_transfer: int
    ) -> None:
        self._decision = decision
        self._reports = reports
        self._idle_timeout = idle_timeout
        self._max_transfer = max_transfer
        self._complaint = Seldom()

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
        server = await self._connect(target)

        def exceeded() -> None:
            client.abort()
            server.abort()

        limits = Limits(self._idle_timeout, self._max_transfer, exceeded)
        passage = Passage(limits)
        tunnel = Tunnel(client, server, target, passage.sent, passage.received)
        try:
            await put(client, _ESTABLISHED, passage.received)
            await tunnel.run()
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

    async def _forward(self, client: Streams, request: Request, target: Target, path: str) -> bool:
        # Before the connection: the framing of the request may be invalid.
        server: Streams | None = None

        def exceeded() -> None:
            if server is not None:
                server.abort()
            if forward.answered:
                client.abort()

        limits = Limits(self._idle_timeout, self._max_transfer, exceeded)
        passage = Passage(limits)
        try:
            forward = Forward(client, request, target, path, passage.sent, passage.received)
            server = await self._connect(target)
            try:
                return await forward.run(server)
            except (OSError, Ended, HeadError) as error:
                if forward.answered:
                    raise ConnectionResetError(str(error)) from None
                raise Unreachable(
                    f"Hyperhive: {target} did not answer the request: {_reason(error)}."
                ) from None
        finally:
            limits.close()
            if server is not None:
                server.abort()
                self._passed(target, passage)

    async def _connect(self, target: Target) -> Streams:
        """Connect to `target`, if that is allowed; count it.

        Raises:
            Refused, Unreachable: it is not, or it fails.
        """
        server = await connect(await self._decision.addresses(target), target)
        self._reports.add(target, EgressOutcome.ALLOWED)
        return server

    def _passed(self, target: Target, passage: Passage) -> None:
        """Count the bytes of a connection, which was counted when it began."""
        sent, received = passage.sent_bytes, passage.received_bytes
        self._reports.add(target, EgressOutcome.ALLOWED, 0, sent=sent, received=received)


def _reason(error: Exception) -> str:
    match error:
        case Ended():
            return "it closed the connection"
        case HeadError():
            return "its answer is not valid HTTP"
        case _:
            return "the connection broke"
