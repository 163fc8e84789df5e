"""The budgets of the deployed agent.tomls, which the ledger enforces, and the rules of egress, by
which it knows the hosts that wait for the operator no longer."""

import logging
from collections.abc import Sequence

from services.config import BudgetLimits
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.ledger import Ledger
from services.tasks import Tasks
from wire.errors import HiveError

log = logging.getLogger(__name__)


class Budgets:
    """The budgets and the rules of all agents, as the ledger is told them."""

    def __init__(self, roster: Roster, backend: Backend, ledger: Ledger) -> None:
        self._roster = roster
        self._backend = backend
        self._ledger = ledger
        self._tasks = Tasks()

    async def set(self, name: str) -> None:
        """Tell the ledger the budget of `name` and its rules, which its gateway follows already.

        If the ledger is away, it is told when it comes.
        """
        agent = self._roster.agents.get(name)
        if agent is not None:
            rules = self._backend.network(agent.spec).egress
            await self._tell(name, self._backend.configuration(agent.spec).budget, rules)

    async def drop(self, name: str) -> None:
        """Tell the ledger that an agent without a configuration has no budget of its own."""
        await self._tell(name, BudgetLimits(), ())

    async def forget(self, name: str) -> None:
        """Have the ledger forget the budgets of an agent that is purged.

        Raises:
            HiveError: the ledger does not take it.
        """
        await self._ledger.forget(name)

    def ledger_appeared(self) -> None:
        """Tell a ledger that has come all budgets: it may be a new one."""
        self._tasks.start_detached(self._set_all(), "budgets")

    async def settle(self) -> None:
        """Wait until a ledger that has come is told."""
        await self._tasks.wait()

    async def stop(self) -> None:
        """Tell the ledger nothing more."""
        await self._tasks.cancel()

    async def _set_all(self) -> None:
        for name in tuple(self._roster.agents):
            await self.set(name)

    async def _tell(self, name: str, limits: BudgetLimits, rules: Sequence[str]) -> None:
        try:
            await self._ledger.set_budget(name, limits)
            await self._ledger.set_egress(name, rules)
        except HiveError as error:
            log.warning("the budget of %s was not set: %s", name, error, extra={"HIVE_AGENT": name})
