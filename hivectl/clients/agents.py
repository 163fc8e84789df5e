"""Agents by their names."""

import re
from collections.abc import Awaitable, Callable, Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Final, TypeVar

from hivectl.arguments.hints import hint
from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.clients.lifecycle import AgentClient, LifecycleClient
from wire.errors import HiveError, NotFound
from wire.records.approvals import Deploy
from wire.records.lifecycle import AgentProperties

SECONDS: Final = 5.0
"""The seconds for which approvals is asked about something that is only shown beside others."""

_PATTERN: Final = re.compile(r"[*?\[]")

T = TypeVar("T")


class Agents:
    """The agents of a hive."""

    def __init__(self, bus: Bus, lifecycle: LifecycleClient, approvals: ApprovalsClient) -> None:
        self._bus = bus
        self._lifecycle = lifecycle
        self._approvals = approvals

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
        agents = await self.all()
        for agent in agents:
            if agent.name == name:
                return agent
        raise _no_agent(name, agents)

    async def select(self, patterns: Sequence[str]) -> list[AgentProperties]:
        """Return the agents with these names, each once, in the order of the patterns.

        Args:
            patterns: names, or patterns of the shell such as `b*` and `[a-c]*`.

        Raises:
            NotFound: there is no such agent, or a pattern matches none.
        """
        agents = await self.all()
        found: dict[str, AgentProperties] = {}
        for pattern in patterns:
            matching = [agent for agent in agents if fnmatchcase(agent.name, pattern)]
            if not matching and _PATTERN.search(pattern):
                raise NotFound(
                    f"No agent matches {pattern!r}; `hivectl list` shows all. Put a pattern in "
                    "quotes, so that the shell does not expand it."
                )
            if not matching:
                raise _no_agent(pattern, agents)
            found |= {agent.name: agent for agent in matching}
        return list(found.values())

    async def deployed(self, name: str) -> Deploy | None:
        """Return the deployment of an agent that is in effect, None if that is not known."""
        try:
            found = await self._approvals.within(SECONDS).deploy_log(name, 1)
        except HiveError:
            return None
        return found[0] if found else None

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
            raise await self._missing(name)

    async def expect_sender(self, name: str | None) -> None:
        """Refuse a name of which no messages were found, if nobody has it, or had it.

        Raises:
            NotFound: `name` is not that of an agent, of a destroyed one whose data are kept, of the
                operator, or of the hive.
        """
        if name is not None and name not in (names.OPERATOR, names.SYSTEM):
            await self.expect_or_kept(name)

    async def expect_or_kept(self, name: str) -> None:
        """Refuse the name of an agent of whose past nothing was found, if there is no such agent.

        Raises:
            NotFound: there is no such agent, and none was destroyed whose data are kept.
        """
        try:
            if any(one.name == name for one in await self._lifecycle.list_tombstones()):
                return
        except HiveError:
            return
        await self.expect(name)

    async def call(self, name: str, method: Callable[[AgentClient], Awaitable[T]]) -> T:
        """Call a method of the agent `name`, as in `call("bob", lambda agent: agent.start())`.

        Raises:
            NotFound: there is no such agent.
        """
        if not names.AGENT_NAME.fullmatch(name):
            raise await self._missing(name)
        try:
            return await method(AgentClient(self._bus, names.agent_path(name)))
        except NotFound as error:
            # The sentence of the bus is about an object path.
            raise await self._missing(name) from error

    async def _missing(self, name: str) -> NotFound:
        """Return the error about an agent that does not exist, with the name that was meant."""
        try:
            return _no_agent(name, await self.all())
        except HiveError:
            return _no_agent(name, [])


def _no_agent(name: str, agents: Sequence[AgentProperties]) -> NotFound:
    """Return the error about an agent that is not one of `agents`."""
    known = [agent.name for agent in agents]
    machines = {agent.machine: agent.name for agent in agents}
    if name in machines:
        return NotFound(
            f"There is no agent {name!r}: that is the machine of the agent {machines[name]}. Did "
            f"you mean {machines[name]}?"
        )
    return NotFound(f"There is no agent {name!r}; `hivectl list` shows all.{hint(name, known)}")
