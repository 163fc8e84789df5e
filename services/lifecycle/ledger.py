"""The ledger, as far as lifecycle needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.config import BudgetLimits


class Ledger(Protocol):
    """The operations of the ledger that lifecycle uses."""

    async def set_budget(self, name: str, limits: BudgetLimits) -> None:
        """Set the limits that the deployed agent.toml of `name` has, in place of earlier ones."""

    async def set_egress(self, name: str, rules: Sequence[str]) -> None:
        """Tell the rules that the gateway of `name` follows."""

    async def forget(self, name: str) -> None:
        """Forget the budgets of `name` and the decisions about its hosts."""

    async def limits(self) -> Mapping[str, int]:
        """Return the agents whose provider takes no requests, each with the end of that."""

    async def lift_limits(self) -> None:
        """Forget all limits of providers."""
