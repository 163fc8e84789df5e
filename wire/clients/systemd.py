"""systemd over the bus: the members that the hive uses. See org.freedesktop.systemd1(5)."""

from typing import Annotated, Final, NamedTuple

from wire import names
from wire.clients.client import Client, remote
from wire.records.codec import dictionary, struct
from wire.types import (
    Bool,
    Bytes,
    Int32,
    ObjectPath,
    Signature,
    Str,
    StrList,
    Typed,
    UInt32,
    UInt64,
)

SYSTEMD: Final = "org.freedesktop.systemd1"
SYSTEMD_PATH: Final = "/org/freedesktop/systemd1"
MANAGER: Final = "org.freedesktop.systemd1.Manager"
UNIT: Final = "org.freedesktop.systemd1.Unit"
SERVICE: Final = "org.freedesktop.systemd1.Service"
NO_SUCH_UNIT: Final = "org.freedesktop.systemd1.NoSuchUnit"


def unit_path(unit: str) -> str:
    """Return the object path of `unit`. systemd answers there even if the unit is not loaded."""
    return f"{SYSTEMD_PATH}/unit/{names.escape(unit)}"


UnitSettings = Annotated[list[tuple[str, Typed]], Signature("a(sv)")]
UnitFileChanges = Annotated[list[list[str]], Signature("a(sss)")]


@dictionary(keys={"invocation_id": "InvocationID"}, properties=True)
class UnitProperties(NamedTuple):
    """The properties of a unit and service that the hive reads.

    The defaults are for units that are not loaded, and for units that are not services.
    """

    active_state: Str = "inactive"
    invocation_id: Bytes = b""
    state_change_timestamp: UInt64 = 0
    active_exit_timestamp: UInt64 = 0
    freezer_state: Str = "running"
    result: Str = "success"
    exec_main_code: Int32 = 0
    exec_main_status: Int32 = 0
    control_group: Str = ""


@struct
class JobRemoved(NamedTuple):
    """The arguments of systemd's signal JobRemoved."""

    id: UInt32
    job: ObjectPath
    unit: Str
    result: Str


@struct
class ListedUnit(NamedTuple):
    """A loaded unit."""

    unit: Str
    description: Str
    load_state: Str
    active_state: Str
    sub_state: Str
    followed: Str
    path: ObjectPath
    job: UInt32
    job_type: Str
    job_path: ObjectPath


class ManagerClient(Client, interface=MANAGER, path=SYSTEMD_PATH, destination=SYSTEMD):
    """org.freedesktop.systemd1.Manager."""

    @remote("Subscribe")
    async def subscribe(self) -> None:
        """Enable the signals of systemd for this connection."""

    @remote("Reload")
    async def reload(self) -> None:
        """Reload the unit files."""

    @remote("StartUnit")
    async def start_unit(self, unit: Str, mode: Str) -> ObjectPath:
        """Order a start and return the job."""

    @remote("StopUnit")
    async def stop_unit(self, unit: Str, mode: Str) -> ObjectPath:
        """Order a stop and return the job."""

    @remote("KillUnit")
    async def kill_unit(self, unit: Str, whom: Str, signal: Int32) -> None:
        """Send a signal to processes of a unit."""

    @remote("ResetFailedUnit")
    async def reset_failed_unit(self, unit: Str) -> None:
        """Reset the failures and the start limit of a unit."""

    @remote("SetUnitProperties")
    async def set_unit_properties(self, unit: Str, runtime: Bool, properties: UnitSettings) -> None:
        """Change properties of a unit; with `runtime` until the next boot."""

    @remote("RevertUnitFiles")
    async def revert_unit_files(self, units: StrList) -> UnitFileChanges:
        """Remove the drop-ins and the changed properties of units."""

    @remote("FreezeUnit")
    async def freeze_unit(self, unit: Str) -> None:
        """Freeze the processes of a unit."""

    @remote("ThawUnit")
    async def thaw_unit(self, unit: Str) -> None:
        """Thaw the processes of a unit."""

    @remote("ListUnitsByNames")
    async def list_units_by_names(self, names: StrList) -> list[ListedUnit]:
        """Return these units, also those that are not loaded."""

    @remote("ListUnits")
    async def list_units(self) -> list[ListedUnit]:
        """Return the loaded units."""


class UnitClient(Client, interface=UNIT, destination=SYSTEMD):
    """org.freedesktop.systemd1.Unit; its path is `unit_path(unit)`."""
