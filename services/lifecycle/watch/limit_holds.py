"""The holds of agents that do not go on by themselves after a limit of their provider."""

import logging

from services.lifecycle.agents.settings import EffectiveSettings
from services.lifecycle.broker import Broker
from services.tasks import Tasks
from wire.errors import Conflict, HiveError

log = logging.getLogger(__name__)


class LimitHolds:
    """The requests to the broker to hold these agents and ask the operator; each is a task."""

    def __init__(self, settings: EffectiveSettings, broker: Broker) -> None:
        self._settings = settings
        self._broker = broker
        self._tasks = Tasks()

    def hold(self, name: str, text: str) -> None:
        """Have the operator asked whether an agent goes on, if its settings want that.

        Args:
            name: the agent.
            text: the reason that the operator reads.
        """
        if not self._settings.resumes_after_limit(name):
            self._tasks.start_detached(self._hold(name, text), f"hold-{name}")

    async def stop(self) -> None:
        """End the requests that the broker has not answered."""
        await self._tasks.cancel()

    async def _hold(self, name: str, text: str) -> None:
        try:
            await self._broker.hold(name, text)
        except Conflict:
            return  # it is held already
        except HiveError as error:
            log.error(
                "%s goes on by itself after its limit, because it cannot be held: %s",
                name, error, extra={"HIVE_AGENT": name},
            )  # fmt: skip
