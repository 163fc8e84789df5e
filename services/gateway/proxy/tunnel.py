"""A tunnel that CONNECT opened: bytes both ways, unread but for the first message of TLS."""

import asyncio
from typing import Final

from services.gateway.egress.decision import Target
from services.gateway.proxy.clienthello import ALERT, HANDSHAKE, HelloError, server_name
from services.gateway.proxy.relay import READ_SIZE, Count, Streams, copy, put

HTTPS: Final = 443
"""The port on which nothing but TLS is let through."""


class Tunnel:
    """One tunnel."""

    def __init__(
        self, client: Streams, server: Streams, target: Target, sent: Count, received: Count
    ) -> None:
        self._client = client
        self._server = server
        self._target = target
        self._sent = sent
        self._received = received
        self.refusal = ""
        """The reason for which the first message was refused, or ""."""

    async def run(self, begun: bytes = b"") -> None:
        """Copy until both ways have ended, or a connection breaks.

        Args:
            begun: what was read of the client before.
        """
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._upwards(begun))
                ways.create_task(copy(self._server, self._client, self._received))
        except* OSError:
            pass  # a connection broke, and with it the tunnel

    async def _upwards(self, begun: bytes) -> None:
        try:
            first = await self._first(begun)
        except HelloError as error:
            self.refusal = str(error)
            await put(self._client, ALERT, self._received)
            raise ConnectionResetError(self.refusal) from None
        if first:
            await put(self._server, first, self._sent)
        await copy(self._client, self._server, self._sent)

    async def _first(self, data: bytes) -> bytes:
        """Return the first bytes of the client, after a check; b"" if it sends none.

        Args:
            data: those that were read before.

        Raises:
            HelloError: they must not go to the server.
        """
        while piece := await self._client.reader.read(READ_SIZE):
            data += piece
            if data[0] != HANDSHAKE:
                if self._target.port == HTTPS:
                    raise HelloError(f"only TLS is let through on port {HTTPS}")
                return data
            if (name := server_name(data)) is not None:
                self._check(name)
                return data
        if data:
            raise HelloError("its first message ends early")
        return data

    def _check(self, name: str) -> None:
        """Check the server name of TLS. Another one may lead to another server at the address."""
        if not isinstance(self._target.host, str):
            return  # a rule or the operator named the address itself
        if name != self._target.host:
            shown = f"is {name!r}" if name else "is missing"
            raise HelloError(f"its server name {shown}, not {self._target.host}")
