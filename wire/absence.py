"""Services of the hive that do not answer, because nobody owns their names.

The bus starts none of them: hive.target does, and systemd starts one again that has failed. A call
that finds nobody waits if systemd is starting the service; otherwise it fails at once, with the
remedy. wire.bus uses this for the services in names.SERVICE_UNITS.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wire import names
from wire.errors import HiveError, Unavailable
from wire.types import Value

if TYPE_CHECKING:
    from wire.bus import Bus

_LONGEST: Final = 90.0
"""The seconds that a service may take to start; the TimeoutStartSec= of their units is at most
that."""
_SYSTEMD: Final = "org.freedesktop.systemd1"
_UNIT: Final = "org.freedesktop.systemd1.Unit"
_JOB: Final = "org.freedesktop.systemd1.Job"
_DOWN: Final = ("inactive", "failed")


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

        # Subscribe first, then ask: an owner that comes in between must not be missed.
        watch = await self._bus.on_owner(name, came=came)
        try:
            if await self._bus.owner_of(name):
                return True
            if not await self._is_coming(unit):
                return False
            lost = self._bus.disconnected
            await asyncio.wait((owned, lost), timeout=_LONGEST, return_when="FIRST_COMPLETED")
        finally:
            await watch.close()
        if not owned.done():
            if lost.done():
                raise Unavailable("The connection to the bus was lost.")
            raise _still_starting(unit)
        return True

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
            raise Unavailable(
                f"{unit} has failed; `systemctl status {unit}` shows why. When the fault is "
                f"corrected, start it with: systemctl restart {unit}"
            )
        raise Unavailable(f"{unit} is stopped. Start it with: systemctl start {unit}")

    async def _state(self, unit: str) -> tuple[str, str]:
        """Return the ActiveState of `unit`, and the type of its job, which is empty for no job."""
        number, path = await self._get(unit, "Job")
        job = ""
        if number:
            with suppress(HiveError):  # the job may have ended meanwhile
                job = await self._property(path, _JOB, "JobType")
        return await self._get(unit, "ActiveState"), job

    async def _get(self, unit: str, name: str) -> Value:
        path = f"/org/freedesktop/systemd1/unit/{names.escape(unit)}"
        return await self._property(path, _UNIT, name)

    async def _property(self, path: str, interface: str, name: str) -> Value:
        return await self._bus.call1(_SYSTEMD, path, names.PROPERTIES, "Get", "ss", interface, name)


def _still_starting(unit: str) -> Unavailable:
    return Unavailable(f"{unit} is still starting. Try again; `systemctl status {unit}` shows it.")
