"""The running containers, as systemd-machined knows them."""

from typing import NamedTuple

from wire.bus import Bus
from wire.clients.machined import MachineClient, ManagerClient
from wire.errors import HiveError


class RunningMachine(NamedTuple):
    """A running container: its machine id (32 hex digits) and the pid of its leader.

    Each is None when it is not known, as both are when the container does not run.
    """

    id: str | None
    leader: int | None


class Machined:
    """The service that knows the running containers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def machine(self, name: str) -> RunningMachine:
        """Return the running container `name`."""
        try:
            path = await ManagerClient(self._bus).get_machine(name)
            found = await MachineClient(self._bus, path).properties()
        except HiveError:
            return RunningMachine(None, None)
        return RunningMachine(bytes(found.id).hex() or None, found.leader or None)
