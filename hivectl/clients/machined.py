"""A client of systemd-machined over the system bus."""

from typing import NamedTuple

from wire import names
from wire.bus import Bus
from wire.errors import HiveError

MACHINED = "org.freedesktop.machine1"


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
            path = await self._bus.call1(
                MACHINED,
                "/org/freedesktop/machine1",
                f"{MACHINED}.Manager",
                "GetMachine",
                "s",
                name,
            )
            found = await self._bus.call1(
                MACHINED, path, names.PROPERTIES, "GetAll", "s", f"{MACHINED}.Machine"
            )
        except HiveError:
            return RunningMachine(None, None)
        return RunningMachine(bytes(found["Id"]).hex() or None, found["Leader"] or None)
