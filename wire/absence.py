"""Services of the hive that do not answer, because nobody owns their names.

The bus starts none of them: hive.target does, and systemd starts one again that has failed. A call
that finds nobody waits if systemd is starting the service; otherwise it fails at once, with the
remedy. wire.bus uses this for the services in names.SERVICE_UNITS.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wire import names
from wire.errors import HiveError, Unavailable
from wire.types import Value

if TYPE_CHECKING:
    from wire.bus import Bus
    from wire.signals import Subscription

_LONGEST: Final = 90.0
"""The seconds that a service may take to start; the TimeoutStartSec= of their units is at most
that."""
_SYSTEMD: Final = "org.freedesktop.systemd1"
_MANAGER: Final = "org.freedesktop.systemd1.Manager"
_UNIT: Final = "org.freedesktop.systemd1.Unit"
_SERVICE: Final = "org.freedesktop.systemd1.Service"
_JOB: Final = "org.freedesktop.systemd1.Job"
_DOWN: Final = ("inactive", "failed")
_CONFIG: Final = 78
"""The exit status of a service that cannot use its configuration or its store; its status says
why. The last status of a service that has crashed says nothing about that."""


class Absences:
    """The services that are away, and the calls that wait for them."""

    def __init__(self, bus: "Bus") -> None:
        self._bus = bus
        self._waits: dict[str, asyncio.Task[bool]] = {}

    async def wait(self, name: str, timeout: float) -> bool:
        """Wait until somebody owns `name`, if systemd is starting that service.

        Returns:
            Whether somebody owns it. False if systemd cannot be asked.

        Raises:
            Unavailable: systemd is not starting the service, `timeout` seconds are over, or the
                connection is lost.
        """
        wait = self._waits.get(name)
        if wait is None:
            # One task for all callers: the daemon allows a connection 512 match rules.
            wait = asyncio.create_task(self._until_owned(name), name=f"wait-for-{name}")
            self._waits[name] = wait
            wait.add_done_callback(lambda done: self._forget(name, done))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(wait)
        except TimeoutError:
            raise _still_starting(names.SERVICE_UNITS[name]) from None

    def _forget(self, name: str, wait: "asyncio.Task[bool]") -> None:
        del self._waits[name]
        if not wait.cancelled():
            wait.exception()  # its callers may all have given up before

    async def _until_owned(self, name: str) -> bool:
        unit = names.SERVICE_UNITS[name]
        owned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def came(_owner: str) -> None:
            if not owned.done():
                owned.set_result(None)

        changed = asyncio.Event()
        # Subscribe first, then ask: an owner that comes in between must not be missed.
        watch = await self._bus.on_owner(name, came=came)
        follow = await self._follow(unit, changed.set)
        try:
            if await self._bus.owner_of(name):
                return True
            async with asyncio.timeout(_LONGEST):
                while await self._is_coming(unit):
                    await self._event(owned, changed)
                    if owned.done():
                        return True
            return False
        except TimeoutError:
            raise _still_starting(unit) from None
        finally:
            await follow.close()
            await watch.close()

    async def _follow(self, unit: str, changed: Callable[[], None]) -> "Subscription":
        """Call `changed` when systemd reports a change of `unit`: its start may fail."""
        following = await self._bus.on_signal(
            lambda _told: changed(),
            sender=_SYSTEMD,
            path=_path(unit),
            interface=names.PROPERTIES,
            member="PropertiesChanged",
        )
        with suppress(HiveError):  # systemd may be away, or this connection has subscribed already
            await self._bus.call(_SYSTEMD, "/org/freedesktop/systemd1", _MANAGER, "Subscribe")
        return following

    async def _event(self, owned: asyncio.Future[None], changed: asyncio.Event) -> None:
        """Wait until the name is owned or the unit has changed.

        Raises:
            Unavailable: the connection is lost.
        """
        lost = self._bus.disconnected
        told = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait((owned, lost, told), return_when="FIRST_COMPLETED")
        finally:
            told.cancel()
        if lost.done() and not owned.done():
            raise Unavailable("The connection to the bus was lost.")
        changed.clear()

    async def _is_coming(self, unit: str) -> bool:
        """Return whether systemd is starting `unit`; False if systemd cannot be asked.

        Raises:
            Unavailable: it is not; the sentence says why, and how to start it.
        """
        try:
            state, job = await self._state(unit)
            # A unit that is active, or deactivating without a job, has just failed.
            if job != "stop" and (job or state not in _DOWN):
                return True
            installed = await self._get(unit, "LoadState") != "not-found"
            target, starting = await self._state(names.TARGET)
        except HiveError:
            return False
        if not installed:
            raise Unavailable(f"{unit} is not installed on this host.")
        if target in _DOWN and starting in ("", "stop"):
            raise Unavailable("The hive is stopped. Start it with: systemctl start hive.target")
        if state == "failed":
            raise Unavailable(await self._failure(unit))
        if culprit := await self._failed_requirement(unit):
            raise Unavailable(
                f"{unit} is stopped, because it needs {culprit}, which has failed; `systemctl "
                f"status {culprit}` shows why. When the fault is corrected, start both with: "
                f"systemctl start {unit}"
            )
        raise Unavailable(f"{unit} is stopped. Start it with: systemctl start {unit}")

    async def _failure(self, unit: str) -> str:
        """Return a sentence about a unit that has failed, with the reason that it gave itself."""
        remedy = f"When the fault is corrected, start it with: systemctl restart {unit}"
        with suppress(HiveError):
            if await self._property(_path(unit), _SERVICE, "ExecMainStatus") == _CONFIG:
                reason = str(await self._property(_path(unit), _SERVICE, "StatusText"))
                return f"{unit} has failed: {reason} {remedy}"
        return f"{unit} has failed; `systemctl status {unit}` shows why. {remedy}"

    async def _failed_requirement(self, unit: str) -> str:
        """Return a unit without which `unit` does not start, and which has failed; or nothing."""
        for needed in await self._get(unit, "Requires"):
            if (await self._state(needed))[0] == "failed":
                return str(needed)
        return ""

    async def _state(self, unit: str) -> tuple[str, str]:
        """Return the ActiveState of `unit`, and the type of its job, which is empty for no job."""
        number, path = await self._get(unit, "Job")
        job = ""
        if number:
            with suppress(HiveError):  # the job may have ended meanwhile
                job = await self._property(path, _JOB, "JobType")
        return await self._get(unit, "ActiveState"), job

    async def _get(self, unit: str, name: str) -> Value:
        return await self._property(_path(unit), _UNIT, name)

    async def _property(self, path: str, interface: str, name: str) -> Value:
        return await self._bus.call1(_SYSTEMD, path, names.PROPERTIES, "Get", "ss", interface, name)


def _path(unit: str) -> str:
    return f"/org/freedesktop/systemd1/unit/{names.escape(unit)}"


def _still_starting(unit: str) -> Unavailable:
    return Unavailable(f"{unit} is still starting. Try again; `systemctl status {unit}` shows it.")
