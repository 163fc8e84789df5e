"""The ledger over the bus."""

import asyncio
from typing import Final

from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records.ledger import EgressReport, ReserveRequest, Settlement

SECONDS: Final = 10.0
"""Seconds that a call waits for the ledger, whose disk may be busy."""
RESERVE_SECONDS: Final = 40.0
"""Seconds that a reservation waits, which waits up to 30 s in the ledger for others to end. An
answer that comes later would leave something reserved."""


class BusLedger:
    """See services.gateway.ledger.Ledger."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = LedgerClient(bus, timeout=SECONDS)
        self._reserve = LedgerClient(bus, timeout=RESERVE_SECONDS)
        self._back: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watch(self) -> None:
        """Watch for starts of the ledger."""
        await self._bus.on_owner(names.LEDGER, came=lambda _: self._came(), went=lambda _: None)

    def back(self) -> "asyncio.Future[None]":
        """See Ledger."""
        return self._back

    def _came(self) -> None:
        self._back.set_result(None)
        self._back = asyncio.get_running_loop().create_future()

    async def reserve(self, request: ReserveRequest) -> int:
        """See Ledger."""
        return await self._reserve.reserve(request)

    async def settle(self, id: int, usage: Settlement) -> None:
        """See Ledger."""
        await self._client.settle(id, usage)

    async def release(self, key: str) -> None:
        """See Ledger."""
        await self._client.release(key)

    async def limited_until(self) -> int:
        """See Ledger."""
        return await self._client.limited_until()

    async def report_egress(self, report: EgressReport) -> None:
        """See Ledger."""
        await self._client.report_egress(report)

    async def check_egress(self, host: str, port: int, reason: str) -> bool:
        """See Ledger."""
        return await self._client.check_egress(host, port, reason)
