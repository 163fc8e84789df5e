"""Budgets, and how they change."""

from collections.abc import AsyncGenerator

from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records import decode
from wire.records.ledger import Budget


class Budgets:
    """The budgets of a hive."""

    def __init__(self, bus: Bus, ledger: LedgerClient) -> None:
        self._bus = bus
        self._ledger = ledger

    async def follow(self) -> AsyncGenerator[Budget, None]:
        """Yield all budgets, then each one that changes.

        Raises:
            Unavailable: the ledger, or the connection to the bus, was lost.
        """
        rule = {"sender": names.LEDGER, "interface": names.LEDGER, "member": "BudgetChanged"}
        # Subscribed first: a change that comes while the list is asked for is not missed.
        async with self._bus.subscribe(**rule) as signals:
            for budget in await self._ledger.list_budgets():
                yield budget
            async for signal in signals:
                yield decode(Budget, signal.args[0])
