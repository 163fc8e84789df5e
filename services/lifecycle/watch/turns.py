"""When the turn that an agent is in is over."""

import asyncio
import logging
from collections.abc import Callable

from services.lifecycle.agents.agent import Agent, TurnState
from services.lifecycle.broker import Broker
from wire.errors import HiveError

log = logging.getLogger(__name__)


class Turns:
    """Wakes who waits for the end of a turn. Owns no task and no timer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changed: dict[str, asyncio.Event] = {}

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Something of `agent` is new."""
        if changed & {"turn_state", "unit_status"} and (event := self._changed.get(agent.name)):
            event.set()

    def hurry(self, name: str) -> None:
        """Whoever waits for `name` is to look at once whether it goes on waiting."""
        if event := self._changed.get(name):
            event.set()

    async def over(self, agent: Agent, enough: Callable[[], bool]) -> None:
        """Return when a restart of `agent` interrupts no turn, or it is `enough` of waiting.

        One waits for each agent at most.
        """
        changed = self._changed[agent.name] = asyncio.Event()
        try:
            while not enough() and await self._in_turn(agent):
                await changed.wait()
                changed.clear()
        finally:
            del self._changed[agent.name]

    async def _in_turn(self, agent: Agent) -> bool:
        unknown = agent.turn_state is TurnState.OFFLINE
        if agent.unit_status.up and unknown and await self._holds(agent):
            return agent.turn_state in (TurnState.OFFLINE, TurnState.THINKING)
        return agent.unit_status.up and agent.turn_state is TurnState.THINKING

    async def _holds(self, agent: Agent) -> bool:
        """Whether there are messages for it, as for one in a turn: it has told us nothing yet."""
        try:
            return agent.name in await self._broker.waiting()
        except HiveError as error:
            log.warning("whether %s is in a turn is not known: %s", agent.name, error)
            return False
