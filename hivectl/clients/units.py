"""The units of the hive, as systemd knows them."""

import asyncio
from typing import Final, NamedTuple

from wire import names
from wire.bus import Bus
from wire.clients.systemd import SERVICE, SYSTEMD, ManagerClient, unit_path
from wire.errors import HiveError

OPTIONAL: Final = frozenset({names.SERVICE_UNITS[names.TELEMETRY]})
"""The units that run only with some configurations."""
UNITS: Final = (*names.SERVICE_UNITS.values(), names.NOTIFY_UNIT)
"""The units of the services."""

_RUNS: Final = frozenset({"active", "activating", "reloading"})


class ServiceUnit(NamedTuple):
    """The unit of a service."""

    name: str
    state: str
    """Its ActiveState."""
    says: str
    """The last sentence of the service about itself; empty unless it has failed."""

    @property
    def runs(self) -> bool:
        """Whether the service runs, or is about to."""
        return self.state in _RUNS

    @property
    def is_missing(self) -> bool:
        """Whether the service ought to run, and does not."""
        return self.state == "failed" or not (self.runs or self.name in OPTIONAL)


class Units:
    """The units of the hive."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def services(self) -> list[ServiceUnit]:
        """Return the units of the services, by name.

        Raises:
            Unavailable: systemd does not answer.
        """
        found = await ManagerClient(self._bus).list_units_by_names(list(UNITS))
        return sorted(
            await asyncio.gather(*(self._one(one.unit, one.active_state) for one in found))
        )

    async def _one(self, unit: str, state: str) -> ServiceUnit:
        if state != "failed":
            return ServiceUnit(unit, state, "")
        asked = (SYSTEMD, unit_path(unit), names.PROPERTIES, "Get", "ss", SERVICE, "StatusText")
        try:
            return ServiceUnit(unit, state, str(await self._bus.call1(*asked)))
        except HiveError:
            return ServiceUnit(unit, state, "")
