"""The endpoint as systemd runs it: a separate process, an inherited socket, a real bus.

async with services(address) as broker, endpoint(address, folder) as process:
    reader, writer = await asyncio.open_unix_connection(process.path)
    assert process.peak() < 40 * MIB
"""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.endpoint.tests.fakes import FakeBroker, export_services
from wire import names
from wire.bus import Bus
from wire.testing import FixedPrincipals

REPO: Final = Path(__file__).parents[3]
MIB: Final = 1024 * 1024
START_SECONDS: Final = 30.0
BACKLOG: Final = 1024
FAULTS: Final = re.compile("Traceback|never retrieved|never awaited|failed")
"""Words that must not be in an endpoint's log, regardless of its input."""

# The shell becomes the endpoint, so that LISTEN_PID is its pid; the socket is handed over as stdin.
_AS_SYSTEMD: Final = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 0</dev/null'


@dataclass(frozen=True, slots=True)
class EndpointProcess:
    """A running endpoint; its log is in the file `log`."""

    process: asyncio.subprocess.Process
    path: Path
    log: Path

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self.process.returncode is None

    def resident(self) -> int:
        """Return the resident bytes."""
        return resident_of(self.process.pid)

    def peak(self) -> int:
        """Return the peak of the resident bytes."""
        return _kib(self.process.pid, "status", "VmHWM")

    def proportional(self) -> int:
        """Return the resident bytes, with this process's share of shared pages."""
        return proportional_of(self.process.pid)

    def cpu(self) -> float:
        """Return the seconds of processor time."""
        return cpu_of(self.process.pid)


def resident_of(pid: int) -> int:
    """Return the resident bytes of a process."""
    return _kib(pid, "status", "VmRSS")


def proportional_of(pid: int) -> int:
    """Return the resident bytes of a process, with its share of shared pages."""
    return _kib(pid, "smaps_rollup", "Pss:")


def cpu_of(pid: int) -> float:
    """Return the seconds of processor time of a process with one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _kib(pid: int, file: str, field: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith(field)]
    return int(value) * 1024


def _unit_environment() -> dict[str, str]:
    """Return the environment that the unit sets."""
    unit = (REPO / "services/endpoint/hive-agent@.service").read_text()
    settings = re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE)
    return dict(settings)


@asynccontextmanager
async def services(address: str) -> AsyncIterator[FakeBroker]:
    """Run fake services on the bus at `address`; yield the broker."""
    server = await Bus.connect(address, FixedPrincipals())
    try:
        broker, *_ = export_services(server)
        for name in (names.BROKER, names.LIFECYCLE, names.APPROVALS):
            await server.own(name)
        yield broker
    finally:
        await server.close()


@asynccontextmanager
async def endpoint(
    address: str, folder: Path, agent: str = "alice", environment: Mapping[str, str] | None = None
) -> AsyncIterator[EndpointProcess]:
    """Run the endpoint of `agent` on the bus at `address`; end it afterwards."""
    path, log = folder / f"{agent}.sock", folder / f"{agent}.log"
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        log.open("wb") as stderr,
    ):
        listener.bind(str(path))
        listener.listen(BACKLOG)
        told.bind(str(folder / f"{agent}.notify"))
        told.setblocking(False)
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _AS_SYSTEMD, "sh", sys.executable, "-m", "services.endpoint", agent),
            cwd=REPO,
            env={
                **{key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"},
                "DBUS_SYSTEM_BUS_ADDRESS": address,
                "NOTIFY_SOCKET": str(folder / f"{agent}.notify"),
                **_unit_environment(),
                **(environment or {}),
            },
            stdin=listener.fileno(),
            stderr=stderr,
        )
        try:
            await _ready(told, process)
            yield EndpointProcess(process, path, log)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _ready(told: socket.socket, process: asyncio.subprocess.Process) -> None:
    """Wait until the endpoint sends READY=1; fail if it ends before."""
    loop = asyncio.get_running_loop()

    async def heard() -> None:
        while b"READY=1" not in await loop.sock_recv(told, 4096):
            pass

    ready, ended = asyncio.create_task(heard()), asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        assert not ended.done(), "the endpoint did not start"
    finally:
        ready.cancel()
        ended.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)
