"""Lifecycle over the bus."""

from typing import NamedTuple

from wire.caller import Caller
from wire.clients.lifecycle import LifecycleClient
from wire.records.codec import dictionary
from wire.records.lifecycle import ProjectAccess
from wire.types import Str


@dictionary(properties=True)
class _Agent(NamedTuple):
    """The properties of Agent1 that are needed here."""

    name: Str
    projects: tuple[ProjectAccess, ...] = ()


class BusAgents:
    """See services.projects.projects.Agents."""

    def __init__(self, caller: Caller) -> None:
        self._client = LifecycleClient(caller)

    async def having(self, project: str) -> list[str]:
        """See Agents."""
        agents = (await self._client.agents_as(_Agent)).values()
        return sorted(
            agent.name
            for agent in agents
            if any(access.project == project for access in agent.projects)
        )
