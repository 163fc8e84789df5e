"""The ledger, as far as lifecycle needs it."""

from collections.abc import Mapping
from typing import Protocol

from services.config import BudgetLimits


class Ledger(Protocol):
    """The operations of the ledger that lifecycle uses."""

    async def set_budget(self, name: str, limits: BudgetLimits) -> None:
        """Set the limits that the deployed agent.toml of `name` has, in place of earlier ones."""

    async def limits(self) -> Mapping[str, int]:
        """Return the agents whose provider takes no requests, each with the end of that."""

    async def lift_limits(self) -> None:
        """Forget all limits of providers."""
