"""The ledger as the gateway's rules need it; clients.py has it over the bus."""

import asyncio
from typing import Protocol

from wire.records.ledger import EgressReport, ReserveRequest, Settlement


class Ledger(Protocol):
    """The ledger: it counts the use, and decides whether more may be used."""

    async def reserve(self, request: ReserveRequest) -> int:
        """Reserve the most that a request may use; return the reservation's id.

        Raises:
            BudgetExhausted: a budget is used up.
            LimitExceeded: requests under way may use up the rest of a budget.
            ProviderLimited: the provider takes no requests now.
            Unavailable, Stopping, Timeout: the ledger does not answer.
        """

    async def settle(self, id: int, usage: Settlement) -> None:
        """Replace a reservation by the use; repeating is harmless."""

    async def release(self, key: str) -> None:
        """End the reservation with a key, whose answer was lost, if there is one."""

    async def limited_until(self) -> int:
        """Return until when the provider takes no requests, in microseconds; 0 for no limit."""

    async def report_egress(self, report: EgressReport) -> None:
        """Count connections to a host."""

    async def check_egress(self, host: str, port: int, reason: str) -> bool:
        """Return whether the operator allows a connection that no rule allows; else ask the
        operator.

        Raises:
            Conflict: the operator has denied it.
            LimitExceeded: too many requests of the agent wait for the operator, who was not asked.
        """

    def back(self) -> "asyncio.Future[None]":
        """Return a future that is done when the ledger starts the next time."""
