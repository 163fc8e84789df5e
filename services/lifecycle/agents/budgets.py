"""The budgets of the deployed agent.tomls, which the ledger enforces."""

import logging

from services.config import BudgetLimits
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.ledger import Ledger
from services.tasks import Tasks
from wire.errors import HiveError

log = logging.getLogger(__name__)


class Budgets:
    """The budgets of all agents, as the ledger is told them."""

    def __init__(self, roster: Roster, backend: Backend, ledger: Ledger) -> None:
        self._roster = roster
        self._backend = backend
        self._ledger = ledger
        self._tasks = Tasks()

    async def set(self, name: str) -> None:
        """Tell the ledger the budget of `name`. If it is away, it is told when it comes."""
        agent = self._roster.agents.get(name)
        if agent is not None:
            await self._tell(name, self._backend.configuration(agent.spec).budget)

    async def drop(self, name: str) -> None:
        """Tell the ledger that an agent without a configuration has no budget of its own."""
        await self._tell(name, BudgetLimits())

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

    async def _tell(self, name: str, limits: BudgetLimits) -> None:
        try:
            await self._ledger.set_budget(name, limits)
        except HiveError as error:
            log.warning("the budget of %s was not set: %s", name, error, extra={"HIVE_AGENT": name})
