"""The running containers: their usage, and pausing them, which needs no job."""

from services.lifecycle.agents.roster import Roster
from services.lifecycle.backends.backend import Backend
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.monitor import Monitor
from wire.errors import Conflict
from wire.records.lifecycle import Usage


class Runtime:
    """The processes and the usage of each agent."""

    def __init__(self, roster: Roster, backend: Backend, monitor: Monitor, disk: DiskWatch) -> None:
        self._roster = roster
        self._backend = backend
        self._monitor = monitor
        self._disk = disk

    async def usage(self, name: str) -> Usage:
        """Return an agent's current usage, empty when it does not run. Raises NotFound."""
        usage = await self._backend.usage(self._roster.agent(name).name)
        return usage._replace(disk=self._disk.used(name))

    async def pause(self, name: str) -> None:
        """Freeze the processes of an agent. Raises NotFound, Conflict."""
        if not self._roster.agent(name).unit_status.up:
            raise Conflict(f"{name} cannot be paused: it is not running.")
        await self._backend.pause(name)
        await self._monitor.refresh(name)

    async def resume(self, name: str) -> None:
        """Thaw the processes of an agent. Raises NotFound, Conflict."""
        agent = self._roster.agent(name)
        if agent.unit_status.up:
            await self._backend.resume(name)
            await self._monitor.refresh(name)
