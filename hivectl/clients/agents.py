"""Agents by their names."""

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TypeVar

from wire import names
from wire.bus import Bus
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.errors import HiveError, NotFound
from wire.records.lifecycle import AgentProperties

T = TypeVar("T")


class Agents:
    """The agents of a hive."""

    def __init__(self, bus: Bus, lifecycle: LifecycleClient) -> None:
        self._bus = bus
        self._lifecycle = lifecycle

    async def all(self) -> list[AgentProperties]:
        """Return all agents, sorted by name.

        Raises:
            Conflict: lifecycle is of another version than this hivectl.
        """
        found = (await self._lifecycle.managed_objects()).agents.values()
        return sorted(found, key=attrgetter("name"))

    async def get(self, name: str) -> AgentProperties:
        """Return the agent `name`.

        Raises:
            NotFound: there is no such agent.
        """
        for agent in await self.all():
            if agent.name == name:
                return agent
        raise _no_agent(name)

    async def is_known(self, name: str) -> bool:
        """Return whether there is an agent `name`; True if lifecycle cannot say."""
        try:
            return any(agent.name == name for agent in await self.all())
        except HiveError:
            return True

    async def expect(self, name: str | None) -> None:
        """Refuse the name of an agent of which nothing was found, if there is no such agent.

        Raises:
            NotFound: there is no such agent.
        """
        if name is not None and not await self.is_known(name):
            raise _no_agent(name)

    async def call(self, name: str, method: Callable[[AgentClient], Awaitable[T]]) -> T:
        """Call a method of the agent `name`, as in `call("bob", lambda agent: agent.start())`.

        Raises:
            NotFound: there is no such agent.
        """
        if not names.AGENT_NAME.fullmatch(name):
            raise _no_agent(name)
        try:
            return await method(AgentClient(self._bus, names.agent_path(name)))
        except NotFound as error:
            raise _no_agent(name) from error  # the sentence of the bus is about an object path


def _no_agent(name: str) -> NotFound:
    return NotFound(f"There is no agent {name!r}; `hivectl list` shows all.")
