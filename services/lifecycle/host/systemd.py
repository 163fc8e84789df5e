"""systemd and machined, as lifecycle uses them: units, their jobs, and the ends of machines."""

import asyncio
import logging
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.host.canfilter import Outcome
from wire import names
from wire.bus import Bus
from wire.clients import machined
from wire.clients.systemd import (
    MANAGER,
    NO_SUCH_UNIT,
    SERVICE,
    SYSTEMD,
    SYSTEMD_PATH,
    UNIT,
    JobRemoved,
    ManagerClient,
    UnitClient,
    UnitProperties,
    unit_path,
)
from wire.errors import Conflict, NotFound, RemoteError, Timeout
from wire.records import decode, updated
from wire.signals import Signal, Subscription
from wire.types import U64, Value

log = logging.getLogger(__name__)

FREEZE: Final = 10.0
"""The seconds that systemd gets to freeze a unit."""

HIVE_TARGET: Final = "hive.target"
CAN_FILTER: Final = "hive-canfilter.service"
CLD_EXITED: Final = 1

UnitWatcher = Callable[[str, UnitStatus], None]
"""Is called with a unit and its new status."""


class Systemd:
    """A client of systemd that follows some units.

    It subscribes first and asks then: `follow` adds the match rule before it reads the properties,
    so that no change falls between the two.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._manager = ManagerClient(bus)
        self._watcher: UnitWatcher = lambda unit, status: None
        self._properties: dict[str, UnitProperties] = {}
        self._changes: dict[str, int] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._began = time.time_ns() // 1000
        self._freezers: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reloading = asyncio.Lock()
        self._asked = self._reloaded = 0

    async def subscribe(self, watcher: UnitWatcher) -> None:
        """Make systemd emit its signals; call `watcher` for each change of a followed unit."""
        self._watcher = watcher
        await self._manager.subscribe()

    async def on_machine_removed(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of each machine whose end machined reports."""
        await self._bus.on_signal(
            lambda told: callback(decode(machined.MachineRemoved, told.args).machine),
            sender=machined.MACHINED,
            path=machined.MACHINED_PATH,
            interface=machined.MANAGER,
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
            properties = await self._read(unit)
            if changes == self._changes[unit]:
                break
            # A change came between the two answers, so they may contradict each other.
        self._properties[unit] = properties
        return status_of(properties)

    async def unfollow(self, unit: str) -> None:
        """Stop following `unit`."""
        self._properties.pop(unit, None)
        self._freezers.pop(unit, None)
        if subscription := self._subscriptions.pop(unit, None):
            await subscription.close()

    async def start(self, unit: str, timeout: float) -> None:
        """Start `unit` and wait until it is READY. Raises Conflict with systemd's reason."""
        await self._run_job("start", self._manager.start_unit, unit, timeout)

    async def stop(self, unit: str, timeout: float) -> None:
        """Stop `unit` and wait for its end. A unit that is not loaded is not an error."""
        await self._if_loaded(self._run_job("stop", self._manager.stop_unit, unit, timeout))

    async def order_stop(self, unit: str) -> None:
        """Order `unit` to stop, without waiting. A unit that is not loaded is not an error."""
        await self._if_loaded(self._manager.stop_unit(unit, "replace"))

    async def kill(self, unit: str) -> None:
        """Send SIGKILL to all processes of `unit`. A unit that is not loaded is not an error."""
        await self._if_loaded(self._manager.kill_unit(unit, "all", signal.SIGKILL))

    async def active_state(self, unit: str) -> str:
        """Return the ActiveState of `unit`."""
        return (await self._read(unit, UNIT)).active_state

    async def status(self, unit: str) -> UnitStatus:
        """Return the status of `unit` without following it."""
        return status_of(await self._read(unit))

    async def reset_failed(self, unit: str) -> None:
        """Reset the failures and the start limit of `unit`, if it is loaded."""
        await self._if_loaded(self._manager.reset_failed_unit(unit))

    async def set_properties(self, unit: str, properties: list[tuple[str, int]]) -> None:
        """Set limits of `unit`, each a 64-bit number, until the next boot of the host."""
        values = [(name, U64(value)) for name, value in properties]
        await self._manager.set_unit_properties(unit, True, values)

    async def revert(self, unit: str) -> None:
        """Remove all drop-ins and `set_properties` of `unit`. The caller must `reload` next."""
        await self._manager.revert_unit_files([unit])

    async def freeze(self, unit: str) -> None:
        """Freeze all processes of `unit`. Raises Conflict when it does not run."""
        await self._change_freezer("freeze", self._manager.within(FREEZE).freeze_unit, unit)

    async def thaw(self, unit: str) -> None:
        """Thaw all processes of `unit`."""
        await self._change_freezer("thaw", self._manager.within(FREEZE).thaw_unit, unit)

    async def cgroup(self, unit: str) -> str:
        """Return the ControlGroup of `unit`; empty when it does not run."""
        return (await self._read(unit, SERVICE)).control_group

    async def reload(self) -> None:
        """Make systemd reload the unit files. Requests at the same time share one reload."""
        self._asked += 1
        asked = self._asked
        async with self._reloading:
            if self._reloaded < asked:  # otherwise a reload that began later has read our files
                began = self._asked
                await self._manager.reload()
                self._reloaded = began

    async def can_filter(self, timeout: float) -> bool:
        """Return whether this host enforces IPAddressDeny=, as hive-canfilter.service found out.

        Raises:
            Conflict: the service failed.
            Timeout: the service took longer than `timeout` seconds.
        """
        await self.start(CAN_FILTER, timeout)
        told = status_of(await self._read(CAN_FILTER))
        # Only a clear yes counts: a unit that is not loaded any more has the status 0, too.
        return (told.active, told.code, told.status) == ("active", CLD_EXITED, Outcome.FILTERED)

    async def host_is_stopping(self) -> bool:
        """Return whether the host stops, or the hive on it with hive.target."""
        if await self._manager.get("SystemState") == "stopping":
            return True
        target = await self._read(HIVE_TARGET, UNIT)
        # The target may never have been started: services run without it, too.
        down = target.active_state in ("inactive", "deactivating")
        return down and target.active_exit_timestamp > self._began

    async def boot(self) -> str:
        """Return the start time of this systemd, which differs from boot to boot.

        The kernel's boot id would not: all containers of one kernel, such as a sandbox, share it.
        """
        return str(await self._manager.get("UserspaceTimestamp"))

    async def _run_job(
        self,
        verb: str,
        order: Callable[[str, str], Awaitable[str]],
        unit: str,
        timeout: float,
    ) -> None:
        async with self._bus.subscribe(
            sender=SYSTEMD, path=SYSTEMD_PATH, interface=MANAGER, member="JobRemoved"
        ) as signals:
            job = await order(unit, "replace")
            try:
                async with asyncio.timeout(timeout):
                    async for told in signals:
                        removed = decode(JobRemoved, told.args)
                        if removed.job == job:
                            break
            except TimeoutError as error:
                raise Timeout(
                    f"The {verb} of {unit} took longer than {timeout:g} s; see "
                    f"journalctl -u {unit}."
                ) from error
        if removed.result not in ("done", "skipped"):
            raise Conflict(await self._explain(unit, removed.result))

    async def _explain(self, unit: str, result: str) -> str:
        status = status_of(await self._read(unit, SERVICE))
        return (
            f"The job of systemd for {unit} ended with {result} (result {status.result}, "
            f"status {status.status}); see journalctl -u {unit}."
        )

    async def _if_loaded(self, request: Awaitable[object]) -> None:
        """Await `request`; ignore that its unit is not loaded."""
        try:
            await request
        except RemoteError as error:
            if error.name != NO_SUCH_UNIT:
                raise

    async def _change_freezer(
        self, verb: str, change: Callable[[str], Awaitable[None]], unit: str
    ) -> None:
        # One at a time: systemd refuses a second request, or loses the answer to the first.
        async with self._freezers[unit]:
            try:
                await change(unit)
            except RemoteError as error:
                raise Conflict(f"systemd refused to {verb} {unit}: {error}") from error
            except Timeout as error:
                raise Conflict(f"systemd did not {verb} {unit} in time.") from error

    async def _read(self, unit: str, *interfaces: str) -> UnitProperties:
        """Read the properties of a unit, by default those of both its interfaces."""
        values: dict[str, Value] = {}
        client = UnitClient(self._bus, unit_path(unit))
        for interface in interfaces or (UNIT, SERVICE):
            try:
                values |= await client.get_all(interface)
            except (RemoteError, NotFound) as error:
                # A socket unit has no Service interface; a unit without a file may have no object.
                log.debug("%s of %s: %s", interface, unit, error)
        return decode(UnitProperties, values)

    def _changed(self, unit: str, told: Signal) -> None:
        interface, changed, _invalidated = told.args
        if unit not in self._changes:
            return
        self._changes[unit] += 1
        before = self._properties.get(unit)
        if before is None:
            return  # `follow` is reading all properties
        now = self._properties[unit] = updated(before, changed)
        # systemd sends the values of Service first, then those of Unit: now both are consistent.
        if interface == UNIT:
            self._watcher(unit, status_of(now))


def status_of(properties: UnitProperties) -> UnitStatus:
    """Return the status that the properties of a unit show."""
    return UnitStatus(
        active=properties.active_state,
        invocation=bytes(properties.invocation_id).hex(),
        result=properties.result,
        code=properties.exec_main_code,
        status=properties.exec_main_status,
        since=properties.state_change_timestamp,
        frozen=properties.freezer_state in ("freezing", "frozen"),
    )
