"""Clients of systemd and machined: units, their jobs, and the ends of machines."""

import asyncio
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, TypeAlias

from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.host.canfilter import Outcome
from wire import names
from wire.bus import Bus
from wire.errors import Conflict, NotFound, RemoteError, Timeout
from wire.signals import Signal, Subscription
from wire.types import U64, Value

log = logging.getLogger(__name__)

SYSTEMD: Final = "org.freedesktop.systemd1"
SYSTEMD_PATH: Final = "/org/freedesktop/systemd1"
SYSTEMD_MANAGER: Final = "org.freedesktop.systemd1.Manager"
UNIT: Final = "org.freedesktop.systemd1.Unit"
SERVICE: Final = "org.freedesktop.systemd1.Service"
MACHINED: Final = "org.freedesktop.machine1"
MACHINED_PATH: Final = "/org/freedesktop/machine1"
MACHINED_MANAGER: Final = "org.freedesktop.machine1.Manager"

MANAGER: Final = (SYSTEMD, SYSTEMD_PATH, SYSTEMD_MANAGER)
FREEZE: Final = 10.0
"""The seconds that systemd gets to freeze a unit."""

HIVE_TARGET: Final = "hive.target"
CAN_FILTER: Final = "hive-canfilter.service"
CLD_EXITED: Final = 1
NO_SUCH_UNIT: Final = "org.freedesktop.systemd1.NoSuchUnit"

UnitWatcher = Callable[[str, UnitStatus], None]
"""Is called with a unit and its new status."""

Properties: TypeAlias = dict[str, Value]
"""Properties of a unit. systemd's documentation has the type of each."""


def unit_path(unit: str) -> str:
    """Return the object path of `unit`. systemd answers there even if the unit is not loaded."""
    return f"{SYSTEMD_PATH}/unit/{names.escape(unit)}"


class Systemd:
    """A client of systemd that follows some units.

    It subscribes first and asks then: `follow` adds the match rule before it reads the properties,
    so that no change falls between the two.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._watcher: UnitWatcher = lambda unit, status: None
        self._properties: dict[str, Properties] = {}
        self._changes: dict[str, int] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._began = time.time_ns() // 1000
        self._freezers: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reloading = asyncio.Lock()
        self._asked = self._reloaded = 0

    async def subscribe(self, watcher: UnitWatcher) -> None:
        """Make systemd emit its signals; call `watcher` for each change of a followed unit."""
        self._watcher = watcher
        await self._manager("Subscribe")

    async def on_machine_removed(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of each machine whose end machined reports."""
        await self._bus.on_signal(
            lambda told: callback(told.args[0]),
            sender=MACHINED,
            path=MACHINED_PATH,
            interface=MACHINED_MANAGER,
            member="MachineRemoved",
        )

    async def follow(self, unit: str) -> UnitStatus:
        """Return the status of `unit`, and report each later change to the watcher."""
        if unit not in self._subscriptions:
            self._changes[unit] = 0
            self._subscriptions[unit] = await self._bus.on_signal(
                lambda told: self._changed(unit, told),
                sender=SYSTEMD,
                path=unit_path(unit),
                interface=names.PROPERTIES,
                member="PropertiesChanged",
            )
        while True:
            changes = self._changes[unit]
            values = await self._all(unit, UNIT) | await self._all(unit, SERVICE)
            if changes == self._changes[unit]:
                break
            # A change came between the two answers, so they may contradict each other.
        self._properties[unit] = values
        return status_of(values)

    async def unfollow(self, unit: str) -> None:
        """Stop following `unit`."""
        self._properties.pop(unit, None)
        self._freezers.pop(unit, None)
        if subscription := self._subscriptions.pop(unit, None):
            await subscription.close()

    async def start(self, unit: str, timeout: float) -> None:
        """Start `unit` and wait until it is READY. Raises Conflict with systemd's reason."""
        await self._run_job("StartUnit", unit, timeout)

    async def stop(self, unit: str, timeout: float) -> None:
        """Stop `unit` and wait for its end. A unit that is not loaded is not an error."""
        try:
            await self._run_job("StopUnit", unit, timeout)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def order_stop(self, unit: str) -> None:
        """Order `unit` to stop, without waiting. A unit that is not loaded is not an error."""
        try:
            await self._manager("StopUnit", "ss", unit, "replace")
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def kill(self, unit: str) -> None:
        """Send SIGKILL to all processes of `unit`. A unit that is not loaded is not an error."""
        try:
            await self._manager("KillUnit", "ssi", unit, "all", signal.SIGKILL)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def active_state(self, unit: str) -> str:
        """Return the ActiveState of `unit`."""
        return str((await self._all(unit, UNIT)).get("ActiveState", "inactive"))

    async def invocation(self, unit: str) -> str:
        """Return the InvocationID of the last run of `unit` in hex; empty if it never ran."""
        return status_of(await self._all(unit, UNIT)).invocation

    async def reset_failed(self, unit: str) -> None:
        """Reset the failures and the start limit of `unit`, if it is loaded."""
        try:
            await self._manager("ResetFailedUnit", "s", unit)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def set_properties(self, unit: str, properties: list[tuple[str, int]]) -> None:
        """Set limits of `unit`, each a 64-bit number, until the next boot of the host."""
        values = [[name, U64(value)] for name, value in properties]
        await self._manager("SetUnitProperties", "sba(sv)", unit, True, values)

    async def revert(self, unit: str) -> None:
        """Remove all drop-ins and `set_properties` of `unit`. The caller must `reload` next."""
        await self._manager("RevertUnitFiles", "as", [unit])

    async def freeze(self, unit: str) -> None:
        """Freeze all processes of `unit`. Raises Conflict when it does not run."""
        await self._freezer("FreezeUnit", unit)

    async def thaw(self, unit: str) -> None:
        """Thaw all processes of `unit`."""
        await self._freezer("ThawUnit", unit)

    async def _freezer(self, member: str, unit: str) -> None:
        # One at a time: systemd refuses a second request, or loses the answer to the first.
        async with self._freezers[unit]:
            try:
                await self._bus.call(*MANAGER, member, "s", unit, timeout=FREEZE)
            except RemoteError as error:
                raise Conflict(f"systemd refused {member} of {unit}: {error}") from error
            except Timeout as error:
                raise Conflict(f"systemd has not done {member} of {unit} in time.") from error

    async def cgroup(self, unit: str) -> str:
        """Return the ControlGroup of `unit`; empty when it does not run."""
        return str((await self._all(unit, SERVICE)).get("ControlGroup", ""))

    async def reload(self) -> None:
        """Make systemd reload the unit files. Requests at the same time share one reload."""
        self._asked += 1
        asked = self._asked
        async with self._reloading:
            if self._reloaded < asked:  # otherwise a reload that began later has read our files
                began = self._asked
                await self._manager("Reload")
                self._reloaded = began

    async def can_filter(self, timeout: float) -> bool:
        """Return whether this host enforces IPAddressDeny=, as hive-canfilter.service found out.

        Raises:
            Conflict: the service failed.
            Timeout: the service took longer than `timeout` seconds.
        """
        await self._run_job("StartUnit", CAN_FILTER, timeout)
        told = status_of(await self._all(CAN_FILTER, UNIT) | await self._all(CAN_FILTER, SERVICE))
        # Only a clear yes counts: a unit that is not loaded any more has the status 0, too.
        return (told.active, told.code, told.status) == ("active", CLD_EXITED, Outcome.FILTERED)

    async def host_is_stopping(self) -> bool:
        """Return whether the host stops, or the hive on it with hive.target."""
        if str(await self._property("SystemState")) == "stopping":
            return True
        target = await self._all(HIVE_TARGET, UNIT)
        # The target may never have been started: services run without it, too.
        left = target.get("ActiveExitTimestamp", 0)
        return target.get("ActiveState") in ("inactive", "deactivating") and left > self._began

    async def boot(self) -> str:
        """Return the start time of this systemd, which differs from boot to boot.

        The kernel's boot id would not: all containers of one kernel, such as a sandbox, share it.
        """
        return str(await self._property("UserspaceTimestamp"))

    async def _run_job(self, member: str, unit: str, timeout: float) -> None:
        async with self._bus.subscribe(
            sender=SYSTEMD, path=SYSTEMD_PATH, interface=SYSTEMD_MANAGER, member="JobRemoved"
        ) as removed:
            [job] = await self._manager(member, "ss", unit, "replace")
            try:
                async with asyncio.timeout(timeout):
                    async for told in removed:
                        _number, path, _unit, result = told.args
                        if path == job:
                            break
            except TimeoutError as error:
                raise Timeout(f"{member} of {unit} took longer than {timeout:g} s.") from error
        if result not in ("done", "skipped"):
            raise Conflict(await self._explain(unit, result))

    async def _explain(self, unit: str, result: str) -> str:
        values = await self._all(unit, SERVICE)
        status = status_of(values)
        return (
            f"systemd ended the job for {unit} with {result} (result {status.result}, "
            f"status {status.status}); see journalctl -u {unit}."
        )

    async def _manager(self, member: str, signature: str = "", *args: object) -> list[Value]:
        return await self._bus.call(*MANAGER, member, signature, *args)

    async def _property(self, name: str) -> Value:
        return await self._bus.call1(
            SYSTEMD, SYSTEMD_PATH, names.PROPERTIES, "Get", "ss", SYSTEMD_MANAGER, name
        )

    async def _all(self, unit: str, interface: str) -> Properties:
        try:
            values: Properties = await self._bus.call1(
                SYSTEMD, unit_path(unit), names.PROPERTIES, "GetAll", "s", interface
            )
        except (RemoteError, NotFound) as error:
            # A socket unit has no Service interface, and a unit without a file may have no object.
            log.debug("%s of %s: %s", interface, unit, error)
            return {}
        return values

    def _changed(self, unit: str, told: Signal) -> None:
        interface, changed, _invalidated = told.args
        if unit not in self._changes:
            return
        self._changes[unit] += 1
        values = self._properties.get(unit)
        if values is None:
            return  # `follow` is reading all properties
        values |= changed
        # systemd sends the values of Service first, then those of Unit: now both are consistent.
        if interface == UNIT:
            self._watcher(unit, status_of(values))


def status_of(values: Properties) -> UnitStatus:
    """Return the status that the properties of a unit and service show."""
    return UnitStatus(
        active=values.get("ActiveState", "inactive"),
        invocation=bytes(values.get("InvocationID", b"")).hex(),
        result=values.get("Result", "success"),
        code=values.get("ExecMainCode", 0),
        status=values.get("ExecMainStatus", 0),
        since=values.get("StateChangeTimestamp", 0),
        frozen=values.get("FreezerState") in ("freezing", "frozen"),
    )
