"""The held agents: the broker delivers no messages to them, and lifecycle shows why."""

from collections.abc import Callable

from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.turn import Hold
from services.lifecycle.broker import Broker
from wire.records.broker import HoldsChanged


class Holds:
    """The holds of the broker, as the agents show them. Owns no task and no timer."""

    def __init__(self, roster: Roster, broker: Broker, released: Callable[[], None]) -> None:
        """Do nothing before `start`.

        Args:
            roster: the agents.
            broker: keeps the holds.
            released: is called when an agent is not held any more: its messages may wake it.
        """
        self._roster = roster
        self._broker = broker
        self._released = released

    async def start(self) -> None:
        """Follow the holds from now on."""
        await self._broker.follow_holds(self.changed)

    async def load(self) -> None:
        """Ask the broker for the holds; it may be another one.

        Raises:
            HiveError: the broker cannot be asked.
        """
        held = {hold.agent: Hold(hold.text, hold.since) for hold in await self._broker.holds()}
        for name, agent in self._roster.agents.items():
            agent.set_hold(held.get(name))

    def changed(self, change: HoldsChanged) -> None:
        """Note that an agent is held, or not any more."""
        if agent := self._roster.agents.get(change.agent):
            agent.set_hold(Hold(change.text, change.since) if change.kind else None)
            if not change.kind:
                self._released()
