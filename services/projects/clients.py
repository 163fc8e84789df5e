"""Lifecycle and the broker over the bus."""

from collections.abc import Callable
from typing import NamedTuple

from services.projects.changes.model import Notice
from services.projects.changes.notices import KIND
from wire import names
from wire.bus import Bus
from wire.caller import Caller
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import LifecycleClient
from wire.records.broker import SendOptions
from wire.records.codec import dictionary
from wire.records.lifecycle import ProjectAccess
from wire.signals import Subscription
from wire.types import Str


@dictionary(properties=True)
class _Agent(NamedTuple):
    """The properties of Agent1 that are needed here."""

    name: Str
    projects: tuple[ProjectAccess, ...] = ()


class BusAgents:
    """See services.projects.projects.Agents and services.projects.changes.members.Members."""

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

    async def grants(self, agent: str) -> dict[str, ProjectAccess]:
        """See Members."""
        for found in (await self._client.agents_as(_Agent)).values():
            if found.name == agent:
                return {access.project: access for access in found.projects}
        return {}


class BusBroker:
    """See services.projects.changes.notices.Broker."""

    def __init__(self, caller: Caller) -> None:
        self._client = BrokerClient(caller)

    async def send(self, notice: Notice) -> None:
        """See Broker."""
        options = SendOptions(kind=KIND, dedupe_key=notice.dedupe_key)
        await self._client.send(notice.recipient, notice.body, options)


async def listen(bus: Bus, broker_appeared: Callable[[], None]) -> Subscription:
    """Call `broker_appeared` for each broker that appears."""
    return await bus.on_owner(names.BROKER, came=lambda _: broker_appeared())
