"""Waiting for the end of an agent's turn."""

import asyncio
import logging
from collections.abc import Callable

from services.lifecycle.agents.agent import Agent
from services.lifecycle.broker import Broker
from wire.errors import HiveError
from wire.records.lifecycle import TurnState

log = logging.getLogger(__name__)


class Turns:
    """The waits for the ends of turns. Owns no task and no timer."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._changed: dict[str, asyncio.Event] = {}

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        """Note new values of the attributes `changed`."""
        if changed & {"turn_state", "in_turn", "unit_status", "reported"} and (
            event := self._changed.get(agent.name)
        ):
            event.set()

    def recheck(self, name: str) -> None:
        """Make the wait for `name`, if any, check its conditions now."""
        if event := self._changed.get(name):
            event.set()

    async def ended(
        self, agent: Agent, hurried: Callable[[], bool], tell: Callable[[str], None]
    ) -> None:
        """Wait until a restart of `agent` interrupts no turn, or `hurried` returns True.

        Only one caller may wait for an agent at a time.

        Args:
            agent: the agent.
            hurried: returns whether to wait no longer.
            tell: called with what is waited for, at first and when that changes.
        """
        changed = self._changed[agent.name] = asyncio.Event()
        told = ""
        try:
            while not hurried() and await self._in_turn(agent):
                if (words := _awaited(agent)) != told:
                    told = words
                    tell(words)
                await changed.wait()
                changed.clear()
        finally:
            del self._changed[agent.name]

    async def _in_turn(self, agent: Agent) -> bool:
        if agent.unit_status.up and _unknown(agent) and await self._has_messages(agent):
            return _unknown(agent) or agent.in_turn
        return agent.unit_status.up and agent.in_turn

    async def _has_messages(self, agent: Agent) -> bool:
        """Return whether messages wait for `agent`, as they do while it is in a turn."""
        try:
            return agent.name in await self._broker.waiting()
        except HiveError as error:
            log.warning("cannot find out whether %s is in a turn: %s", agent.name, error)
            return False


def _awaited(agent: Agent) -> str:
    """Return what ends the turn of `agent`, in words; none of them are the agent's own."""
    words = f"{agent.name}: waiting for the end of the turn"
    match agent.turn_state:
        case TurnState.WAITING:
            words += ", which waits for the operator; `hivectl questions` shows for what"
        case TurnState.RATE_LIMITED | TurnState.ERROR:
            words += ", in which the model's API refuses the requests"
    return words


def _unknown(agent: Agent) -> bool:
    """Return whether the harness has not said what it does since lifecycle has known it."""
    away = agent.turn_state is TurnState.HARNESS_AWAY
    never = agent.turn_state in (TurnState.OFFLINE, TurnState.NO_REPORT)
    return never or not (agent.reported or away)
