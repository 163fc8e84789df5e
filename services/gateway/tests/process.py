"""The gateway as systemd runs it: a separate process, two inherited sockets, a real bus.

async with ledger_on(bus) as ledger, gateway(address, folder) as process:
    reader, writer = await asyncio.open_unix_connection(process.folder / "api.sock")
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.gateway.tests.fakes import FakeLedger
from services.gateway.tests.stage import KEY, listening
from wire import names
from wire.bus import Bus
from wire.interface import Interface, method
from wire.principal import EVERYBODY
from wire.records.codec import decode
from wire.records.ledger import EgressReport, ReserveRequest, Settlement
from wire.types import Bool, Dict, Int64, Str, UInt16, UInt64

REPO: Final = Path(__file__).parents[3]
START_SECONDS: Final = 30.0

# Becomes the gateway, so that LISTEN_PID is its pid; the sockets are its descriptors 3 and 4.
_AS_SYSTEMD: Final = """
import os, sys
api, proxy, *command = sys.argv[1:]
held = [os.dup(int(api)), os.dup(int(proxy))]
high = [__import__("fcntl").fcntl(fd, 0, 100) for fd in held]
for number, fd in zip((3, 4), high):
    os.dup2(fd, number, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="api:proxy")
os.closerange(5, 200)
os.execv(command[0], command)
"""


class BusLedger(Interface, name=names.LEDGER):
    """A ledger on the bus, in front of a fake one."""

    def __init__(self, ledger: FakeLedger) -> None:
        super().__init__()
        self._ledger = ledger

    @method(allow=EVERYBODY)
    async def Reserve(self, request: Dict) -> UInt64:  # noqa: N802
        return await self._ledger.reserve(decode(ReserveRequest, request))

    @method(allow=EVERYBODY)
    async def Settle(self, id: UInt64, usage: Dict) -> None:  # noqa: N802
        await self._ledger.settle(id, decode(Settlement, usage))

    @method(allow=EVERYBODY)
    async def Release(self, key: Str) -> None:  # noqa: N802
        await self._ledger.release(key)

    @method(allow=EVERYBODY)
    async def ReportEgress(self, report: Dict) -> None:  # noqa: N802
        await self._ledger.report_egress(decode(EgressReport, report))

    @method(allow=EVERYBODY)
    async def CheckEgress(self, host: Str, port: UInt16, reason: Str) -> Bool:  # noqa: N802
        return await self._ledger.check_egress(host, port, reason)

    @method(allow=EVERYBODY)
    async def LimitedUntil(self) -> Int64:  # noqa: N802
        return await self._ledger.limited_until()


@asynccontextmanager
async def ledger_on(bus: Bus) -> AsyncIterator[FakeLedger]:
    """Run a ledger on `bus`."""
    ledger = FakeLedger()
    bus.export(names.LEDGER_PATH, BusLedger(ledger))
    await bus.own(names.LEDGER)
    yield ledger


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway; its log is in the file `log`."""

    process: asyncio.subprocess.Process
    folder: Path
    log: Path


@asynccontextmanager
async def gateway(
    address: str, folder: Path, *, key: str = KEY, config: str = ""
) -> AsyncIterator[GatewayProcess]:
    """Run the gateway of alice on the bus at `address`; end it afterwards.

    Its settings are in `folder/settings`, its credential is in `folder/credentials`.
    """
    credentials, log = folder / "credentials", folder / "log"
    credentials.mkdir(exist_ok=True)
    (credentials / "default").write_text(key)
    (folder / "hyperhive.toml").write_text(config)
    with (
        listening(folder / "api.sock") as api,
        listening(folder / "proxy.sock") as proxy,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        log.open("wb") as stderr,
    ):
        told.bind(str(folder / "notify"))
        told.setblocking(False)
        descriptors = (api.fileno(), proxy.fileno())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _AS_SYSTEMD, *map(str, descriptors)),
            *(sys.executable, "-m", "services.gateway.tests.main", str(folder / "settings")),
            cwd=REPO,
            env={
                **{key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"},
                "DBUS_SYSTEM_BUS_ADDRESS": address,
                "NOTIFY_SOCKET": str(folder / "notify"),
                "CREDENTIALS_DIRECTORY": str(credentials),
                "HYPERHIVE_CONFIG": str(folder / "hyperhive.toml"),
                "PYDANTIC_DISABLE_PLUGINS": "__all__",
            },
            pass_fds=descriptors,
            stderr=stderr,
        )
        try:
            await _ready(told, process)
            yield GatewayProcess(process, folder, log)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _ready(told: socket.socket, process: asyncio.subprocess.Process) -> None:
    """Wait until the gateway sends READY=1; fail if it ends before."""
    loop = asyncio.get_running_loop()

    async def heard() -> None:
        while b"READY=1" not in await loop.sock_recv(told, 4096):
            pass

    ready, ended = asyncio.create_task(heard()), asyncio.create_task(process.wait())
    try:
        async with asyncio.timeout(START_SECONDS):
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
        assert not ended.done(), "the gateway did not start"
    finally:
        ready.cancel()
        ended.cancel()
        await asyncio.gather(ready, ended, return_exceptions=True)
