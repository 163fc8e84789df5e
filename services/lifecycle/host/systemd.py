"""systemd and machined over the bus: units, their jobs, and what happens to machines."""

import asyncio
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.host.canfilter import Outcome
from wire import names
from wire.bus import Bus
from wire.errors import Conflict, NotFound, RemoteError, Timeout
from wire.signals import Signal, Subscription
from wire.types import U64

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
"""Seconds in which systemd freezes a unit that can be frozen."""

HIVE_TARGET: Final = "hive.target"
CAN_FILTER: Final = "hive-canfilter.service"
CLD_EXITED: Final = 1
NO_SUCH_UNIT: Final = "org.freedesktop.systemd1.NoSuchUnit"

UnitWatcher = Callable[[str, UnitStatus], None]


def unit_path(unit: str) -> str:
    """The object path of `unit`, which systemd answers at whether it is loaded or not."""
    return f"{SYSTEMD_PATH}/unit/{names.escape(unit)}"


class Systemd:
    """A client of systemd that follows some units.

    Subscribe first, then ask: `follow` sets the match rule before it reads, so that no change
    falls between the two.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._watcher: UnitWatcher = lambda unit, status: None
        self._properties: dict[str, dict[str, Any]] = {}
        self._changes: dict[str, int] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._began = time.time_ns() // 1000
        self._freezers: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reloading = asyncio.Lock()
        self._asked = self._reloaded = 0

    async def subscribe(self, watcher: UnitWatcher) -> None:
        """Make systemd emit its signals, and send what happens to followed units to `watcher`."""
        self._watcher = watcher
        await self._manager("Subscribe")

    async def on_machine_removed(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of each machine that machined sees ending."""
        await self._bus.on_signal(
            lambda told: callback(told.args[0]),
            sender=MACHINED,
            path=MACHINED_PATH,
            interface=MACHINED_MANAGER,
            member="MachineRemoved",
        )

    async def follow(self, unit: str) -> UnitStatus:
        """What `unit` does now; from here on the watcher hears of each change."""
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
            # A change came between the two answers: they may contradict each other.
        self._properties[unit] = values
        return status_of(values)

    async def unfollow(self, unit: str) -> None:
        """The watcher need not hear of `unit` any more."""
        self._properties.pop(unit, None)
        self._freezers.pop(unit, None)
        if subscription := self._subscriptions.pop(unit, None):
            await subscription.close()

    async def start(self, unit: str, timeout: float) -> None:
        """Start `unit`; returns when it is READY. Raises Conflict with systemd's reason."""
        await self._run_job("StartUnit", unit, timeout)

    async def stop(self, unit: str, timeout: float) -> None:
        """Stop `unit`; returns when it is gone. One that is not loaded is no error."""
        try:
            await self._run_job("StopUnit", unit, timeout)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def order_stop(self, unit: str) -> None:
        """Have `unit` stopped, without waiting for it. One that is not loaded is no error."""
        try:
            await self._manager("StopUnit", "ss", unit, "replace")
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def kill(self, unit: str) -> None:
        """Send SIGKILL to every process of `unit`; one that is not loaded has none."""
        try:
            await self._manager("KillUnit", "ssi", unit, "all", signal.SIGKILL)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def active_state(self, unit: str) -> str:
        """What `unit` does now, in systemd's words."""
        return str((await self._all(unit, UNIT)).get("ActiveState", "inactive"))

    async def invocation(self, unit: str) -> str:
        """Which run of `unit` is, or was, the last one, in hex; empty when it never ran."""
        return status_of(await self._all(unit, UNIT)).invocation

    async def reset_failed(self, unit: str) -> None:
        """Forget failures and the start limit of `unit`; one that is not loaded has none."""
        try:
            await self._manager("ResetFailedUnit", "s", unit)
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def set_properties(self, unit: str, properties: list[tuple[str, int]]) -> None:
        """Change limits of `unit` until the host is booted again; each is a number of 64 bits."""
        values = [[name, U64(value)] for name, value in properties]
        await self._manager("SetUnitProperties", "sba(sv)", unit, True, values)

    async def revert(self, unit: str) -> None:
        """Remove what was set with `set_properties`, and all drop-ins of `unit`; `reload` next."""
        await self._manager("RevertUnitFiles", "as", [unit])

    async def freeze(self, unit: str) -> None:
        """Take the processor from everything in `unit`. Raises Conflict when it does not run."""
        await self._freezer("FreezeUnit", unit)

    async def thaw(self, unit: str) -> None:
        """Give it back."""
        await self._freezer("ThawUnit", unit)

    async def _freezer(self, member: str, unit: str) -> None:
        # One at a time: systemd refuses a second one, or loses the answer to the first.
        async with self._freezers[unit]:
            try:
                await self._bus.call(*MANAGER, member, "s", unit, timeout=FREEZE)
            except RemoteError as error:
                raise Conflict(f"systemd refused {member} of {unit}: {error}") from error
            except Timeout as error:
                raise Conflict(f"systemd has not done {member} of {unit} in time.") from error

    async def cgroup(self, unit: str) -> str:
        """The unit's control group below the root of the tree; empty when it does not run."""
        return str((await self._all(unit, SERVICE)).get("ControlGroup", ""))

    async def reload(self) -> None:
        """Make systemd read the unit files again; many who ask at once get it done once."""
        self._asked += 1
        asked = self._asked
        async with self._reloading:
            if self._reloaded < asked:  # else one that began later has read our files, too
                began = self._asked
                await self._manager("Reload")
                self._reloaded = began

    async def can_filter(self, timeout: float) -> bool:
        """Whether IPAddressDeny= is kept on this host, as hive-canfilter.service found out.

        Raises Conflict or Timeout when that could not be found out.
        """
        await self._run_job("StartUnit", CAN_FILTER, timeout)
        told = status_of(await self._all(CAN_FILTER, UNIT) | await self._all(CAN_FILTER, SERVICE))
        # Only a clear yes is one: a unit that is not loaded any more has 0 for a status, too.
        return (told.active, told.code, told.status) == ("active", CLD_EXITED, Outcome.FILTERED)

    async def host_is_stopping(self) -> bool:
        """Whether the whole host goes down, or the hive on it with hive.target."""
        if str(await self._property("SystemState")) == "stopping":
            return True
        target = await self._all(HIVE_TARGET, UNIT)
        # It may never have been started: services run without it, too.
        left = target.get("ActiveExitTimestamp", 0)
        return target.get("ActiveState") in ("inactive", "deactivating") and left > self._began

    async def boot(self) -> str:
        """When this systemd was started: it differs from boot to boot, in a sandbox, too, which
        shares the boot id of its kernel with all others.
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
                raise Timeout(f"{unit} took longer than {timeout:g} s to {member}.") from error
        if result not in ("done", "skipped"):
            raise Conflict(await self._explain(unit, result))

    async def _explain(self, unit: str, result: str) -> str:
        values = await self._all(unit, SERVICE)
        status = status_of(values)
        return (
            f"systemd ended the job for {unit} with {result} (result {status.result}, "
            f"status {status.status}); see journalctl -u {unit}."
        )

    async def _manager(self, member: str, signature: str = "", *args: Any) -> list[Any]:
        return await self._bus.call(*MANAGER, member, signature, *args)

    async def _property(self, name: str) -> Any:
        return await self._bus.call1(
            SYSTEMD, SYSTEMD_PATH, names.PROPERTIES, "Get", "ss", SYSTEMD_MANAGER, name
        )

    async def _all(self, unit: str, interface: str) -> dict[str, Any]:
        try:
            values: dict[str, Any] = await self._bus.call1(
                SYSTEMD, unit_path(unit), names.PROPERTIES, "GetAll", "s", interface
            )
        except (RemoteError, NotFound) as error:
            # A socket unit has no Service interface, and one without a file may have no object.
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
            return  # `follow` is asking for all of them
        values |= changed
        # systemd sends the Service's values first, then the Unit's: now both are of one moment.
        if interface == UNIT:
            self._watcher(unit, status_of(values))


def status_of(values: dict[str, Any]) -> UnitStatus:
    """The properties of a unit and service, as far as lifecycle looks at them."""
    return UnitStatus(
        active=values.get("ActiveState", "inactive"),
        invocation=bytes(values.get("InvocationID", b"")).hex(),
        result=values.get("Result", "success"),
        code=values.get("ExecMainCode", 0),
        status=values.get("ExecMainStatus", 0),
        since=values.get("StateChangeTimestamp", 0),
        frozen=values.get("FreezerState") in ("freezing", "frozen"),
    )
