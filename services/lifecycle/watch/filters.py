"""Keeping containers up to date with the host's addresses, name servers and credentials."""

import asyncio
import logging

from services.lifecycle.agents.record import Record
from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.tasks import Tasks
from wire.errors import HiveError
from wire.records.lifecycle import AgentState

log = logging.getLogger(__name__)

_ENDED = (AgentState.STOPPED, AgentState.FAILED)


class Filters:
    """The network filters of all containers, and the files that they take over at once."""

    def __init__(self, roster: Roster, backend: Backend) -> None:
        self._roster = roster
        self._backend = backend
        self._tasks = Tasks()
        self._changed = False

    def change(self) -> None:
        """Apply a change of the host to all containers; apply changes that come meanwhile next."""
        self._changed = True
        if not len(self._tasks):
            self._tasks.start_detached(self._apply_all(), "filters")

    async def apply(self, record: Record) -> None:
        """Apply the current limits and the filter to a container; log a failure."""
        try:
            await self._backend.limit(record.spec)
        except HiveError as error:
            log.error("cannot apply the limits of %s: %s", record.name, error)

    async def settle(self) -> None:
        """Wait until all changes are applied."""
        await self._tasks.wait()

    async def stop(self) -> None:
        """Stop applying changes. The next lifecycle begins with the then current addresses."""
        await self._tasks.cancel()

    async def _apply_all(self) -> None:
        while self._changed:
            self._changed = False
            # A container that is about to start may have been given the former addresses.
            running = [
                self._roster.records[agent.name]
                for agent in self._roster.agents.values()
                if agent.unit_status.state not in _ENDED
            ]
            await asyncio.gather(*(self.apply(record) for record in running))
            for agent in tuple(self._roster.agents.values()):
                agent.announce(agent, frozenset({"network"}))
