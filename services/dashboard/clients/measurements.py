"""The figures that no signal tells: the depths of inboxes, and the resources that agents use.

They are asked for when somebody reads the metrics, and after events: see samples.py.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, NamedTuple

from services.dashboard.clients.services import agent_path
from services.dashboard.state.counts import Counts
from wire.caller import Caller
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import AgentClient
from wire.errors import HiveError
from wire.records.broker import MessageCount
from wire.records.lifecycle import Usage

log = logging.getLogger(__name__)

SECONDS: Final = 5.0
"""The seconds within which a service must answer; Prometheus gives up after ten."""


class Measured(NamedTuple):
    """The figures of one moment, without those that no service answered."""

    depths: list[MessageCount] | None
    """None if the broker does not answer."""
    usage: dict[str, Usage]
    """By agent."""


class Measurements:
    """Asks for the figures, one reader after the other."""

    def __init__(self, caller: Caller, counts: Counts) -> None:
        """Ask over `caller`; `counts` knows whether messages have changed since the last time."""
        self._caller = caller
        self._broker = BrokerClient(caller).within(SECONDS)
        self._counts = counts
        self._reading = asyncio.Lock()
        self._depths: list[MessageCount] = []
        self._depths_of = -1

    async def read(self, agents: Iterable[str]) -> Measured:
        """Return the figures of the hive, and of `agents`."""
        async with self._reading:
            depths, usages = await asyncio.gather(
                self._read_depths(), asyncio.gather(*(self._usage(agent) for agent in agents))
            )
        return Measured(depths, {name: usage for name, usage in usages if usage is not None})

    async def depths(self) -> list[MessageCount] | None:
        """Return the depths of the inboxes; None if the broker does not answer."""
        async with self._reading:
            return await self._read_depths()

    async def usage(self, name: str) -> Usage | None:
        """Return the resources that an agent uses; None if lifecycle does not say."""
        return (await self._usage(name))[1]

    async def _read_depths(self) -> list[MessageCount] | None:
        # Noted before the question: a change during the question makes the next reader ask again.
        changes = self._counts.message_changes
        if changes != self._depths_of:
            try:
                self._depths = await self._broker.count_messages()
            except HiveError as error:
                log.info("the depths of the inboxes are not known: %s", error)
                self._depths_of = -1
                return None
            self._depths_of = changes
        return self._depths

    async def _usage(self, name: str) -> tuple[str, Usage | None]:
        agent = AgentClient(self._caller, agent_path(name)).within(SECONDS)
        try:
            return name, await agent.get_usage()
        except HiveError:
            return name, None  # it is gone, or lifecycle does not answer, which another metric says
