"""The operator's changes of an agent's container and of its limits, as calls of the services."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from services.dashboard.clients.services import ExplainingCaller, agent_path
from wire import names
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient, JobClient, LifecycleClient
from wire.errors import NotFound
from wire.records.ledger import BudgetKind, BudgetLimits
from wire.records.lifecycle import ResourceChanges

VERBS: Final[Mapping[str, Callable[[AgentClient], Awaitable[object]]]] = {
    "start": AgentClient.start,
    "stop": AgentClient.stop,
    "kill": AgentClient.kill,
    "restart": AgentClient.restart,
    "rebuild": AgentClient.rebuild,
    "update": AgentClient.update,
    "pause": AgentClient.pause,
    "resume": AgentClient.resume,
}
"""The changes without arguments. Each begins a job, but `pause` and `resume`, which are done at
once."""


class AgentControl:
    """Changes of agents. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._caller = caller
        self._lifecycle = LifecycleClient(caller)
        self._broker = BrokerClient(caller)
        self._ledger = LedgerClient(caller)

    async def change(self, name: str, verb: str) -> None:
        """Make one of the changes VERBS, or begin to."""
        await VERBS[verb](AgentClient(self._caller, agent_path(name)))

    async def cancel_job(self, number: int) -> None:
        """Undo a job; its agent becomes what it was."""
        try:
            await JobClient(self._caller, names.job_path(number)).cancel()
        except NotFound as error:
            raise NotFound(f"Job {number} has ended.") from error

    async def unhold(self, name: str) -> None:
        """Deliver an agent's messages again."""
        agent_path(name)
        await self._broker.unhold(name)

    async def destroy(self, name: str, *, purge: bool) -> None:
        """Begin to end an agent; with its data if `purge`."""
        agent_path(name)
        await self._lifecycle.destroy(name, purge)

    async def set_limits(self, name: str, changes: ResourceChanges) -> None:
        """Change an agent's limits on the host, at once and for good."""
        await AgentClient(self._caller, agent_path(name)).set_resources(changes)

    async def set_budget(self, name: str, limits: BudgetLimits) -> None:
        """Change the limits of an agent's cost."""
        agent_path(name)
        await self._ledger.set_budget(BudgetKind.AGENT, name, limits)
