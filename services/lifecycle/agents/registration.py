"""The registration of all agents at a broker, whose store may be a new one."""

from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.settings import EffectiveSettings
from services.lifecycle.broker import Broker
from services.lifecycle.watch.holds import Holds


class Registration:
    """The agents, as the broker knows them."""

    def __init__(
        self, roster: Roster, settings: EffectiveSettings, broker: Broker, holds: Holds
    ) -> None:
        self._roster = roster
        self._settings = settings
        self._broker = broker
        self._holds = holds

    async def register_all(self) -> None:
        """Register each agent with its limit of attempts, and load the holds.

        Raises:
            HiveError: the broker cannot be called, or refuses an agent.
        """
        for name in tuple(self._roster.agents):
            await self._broker.register(name)
            await self._broker.limit_attempts(name, self._settings.max_attempts(name))
        await self._holds.load()
