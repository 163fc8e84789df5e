"""machined over the bus: the members that the hive uses. See org.freedesktop.machine1(5)."""

from typing import Final, NamedTuple

from wire.clients.client import Client, remote
from wire.records.codec import decode, dictionary, struct
from wire.types import Bytes, ObjectPath, Str, UInt32

MACHINED: Final = "org.freedesktop.machine1"
MACHINED_PATH: Final = "/org/freedesktop/machine1"
MANAGER: Final = "org.freedesktop.machine1.Manager"
MACHINE: Final = "org.freedesktop.machine1.Machine"


@dictionary(properties=True)
class MachineProperties(NamedTuple):
    """The properties of a machine that the hive reads."""

    id: Bytes = b""
    """Its machine id; empty when it is not known."""
    leader: UInt32 = 0
    """The pid of its init."""


@struct
class ListedMachine(NamedTuple):
    """A running machine."""

    machine: Str
    kind: Str
    service: Str
    path: ObjectPath


@struct
class MachineRemoved(NamedTuple):
    """The arguments of the signal MachineRemoved."""

    machine: Str
    path: ObjectPath


class ManagerClient(Client, interface=MANAGER, path=MACHINED_PATH, destination=MACHINED):
    """org.freedesktop.machine1.Manager."""

    @remote("GetMachine")
    async def get_machine(self, machine: Str) -> ObjectPath:
        """Return the object of a running machine."""

    @remote("ListMachines")
    async def list_machines(self) -> list[ListedMachine]:
        """Return the running machines."""


class MachineClient(Client, interface=MACHINE, destination=MACHINED):
    """org.freedesktop.machine1.Machine; its path is that of `ManagerClient.get_machine`."""

    async def properties(self) -> MachineProperties:
        """Return the properties of the machine."""
        return decode(MachineProperties, await self.get_all())
