"""Support for tests: a real private bus daemon, and principals without systemd.

    async with private_bus() as address:
        bus = await Bus.connect(address, FixedPrincipals({}, default=agent("alice")))

pytest fixtures made of these are in wire.fixtures.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from wire import jitter, names
from wire.caller import Caller
from wire.errors import StandardError
from wire.interface import Interface, method
from wire.principal import EVERYBODY, THE_OPERATOR, Principal
from wire.types import ObjectPath, UInt32

START_TIMEOUT: Final = 10.0

_CONFIG: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_type="signal"/>
  </policy>
  {extra}
</busconfig>
"""


class FixedPrincipals:
    """A resolver with a fixed table; a connection that is not in the table is `default`."""

    def __init__(
        self, known: Mapping[str, Principal] | None = None, default: Principal | None = THE_OPERATOR
    ) -> None:
        self.known = dict(known or {})
        self.default = default

    async def resolve(self, bus: Caller, connection: str) -> Principal | None:
        """See wire.resolver.Resolver."""
        return self.known.get(connection, self.default)


class FakeSystemd(Interface, name="org.freedesktop.systemd1.Manager"):
    """A systemd on a private bus: every process is in `unit`, or in no unit when that is empty.

    fake = FakeSystemd("hive-agent@bob.service")
    bus.export("/org/freedesktop/systemd1", fake)
    await bus.own("org.freedesktop.systemd1")
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.asked: list[int] = []
        self.before_answer: Callable[[], Awaitable[None]] | None = None

    @method(allow=EVERYBODY)
    async def GetUnitByPID(self, pid: UInt32) -> ObjectPath:
        """Return the path of the unit."""
        self.asked.append(pid)
        if self.before_answer is not None:
            await self.before_answer()
        if not self.unit:
            raise StandardError("org.freedesktop.systemd1.NoUnitForPID", f"{pid} is in no unit.")
        return f"/org/freedesktop/systemd1/unit/{names.escape(self.unit)}"


@asynccontextmanager
async def private_bus(extra: str = "", stderr: int | None = None) -> AsyncIterator[str]:
    """Run a new dbus-daemon with the limits of a system bus, and yield its address.

    Args:
        extra: lines for its configuration, such as policies and limits.
        stderr: the file descriptor for its errors.
    """
    with tempfile.TemporaryDirectory(prefix="hive-bus-") as folder:
        socket = Path(folder, "bus")
        config = _write_config(Path(folder), socket, extra)
        daemon = await asyncio.create_subprocess_exec(
            "dbus-daemon",
            f"--config-file={config}",
            "--nofork",
            "--nopidfile",
            "--nosyslog",
            "--print-address=1",
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
        try:
            if daemon.stdout is None or not (address := await _first_line(daemon.stdout)):
                raise RuntimeError("dbus-daemon did not start")
            with jitter.slow_process(daemon.pid):
                yield address
        finally:
            if daemon.returncode is None:
                daemon.terminate()
            await daemon.communicate()


async def daemon_pid(bus: Caller) -> int:
    """Return the pid of the daemon of a private bus."""
    daemon = "org.freedesktop.DBus"
    [pid] = await bus.call(daemon, "/", daemon, "GetConnectionUnixProcessID", "s", daemon)
    return int(pid)


def _write_config(folder: Path, socket: Path, extra: str) -> Path:
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(socket=socket, extra=extra))
    return config


async def _first_line(stream: asyncio.StreamReader) -> str:
    async with asyncio.timeout(START_TIMEOUT):
        return (await stream.readline()).decode().strip()
