"""The life of a service, seen by systemd: a real process, a real bus, a real notify socket."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.tests.demo import NAME, PATH
from services.unit import Exit
from wire import errors
from wire.bus import Bus
from wire.fixtures import Connect
from wire.testing import FakeSystemd, daemon_pid

LIMIT = 20


class Process:
    """The demo room, and its reports to systemd."""

    def __init__(self, process: asyncio.subprocess.Process, listener: socket.socket) -> None:
        self.process = process
        self.listener = listener
        self.told: list[str] = []

    async def wait_told(self, wanted: str) -> None:
        """Return once a line that begins with `wanted` was sent."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT):
            while not any(line.startswith(wanted) for line in self.told):
                self.told += (await loop.sock_recv(self.listener, 4096)).decode().splitlines()

    async def end(self) -> tuple[int, str, str]:
        """Wait for the end; return exit status, stdout and stderr."""
        async with asyncio.timeout(LIMIT):
            output, error = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, output.decode(), error.decode()


@asynccontextmanager
async def demo(address: str, folder: Path, **environment: str) -> AsyncIterator[Process]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JOURNAL", "HYPER"))}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.tests.demo"),
            cwd=Path(__file__).parents[2],
            env={
                **inherited,
                "DBUS_SYSTEM_BUS_ADDRESS": address,
                "NOTIFY_SOCKET": str(folder / "notify"),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield Process(process, listener)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def be_systemd(bus: Bus) -> None:
    bus.export("/org/freedesktop/systemd1", FakeSystemd("hive-agent@bob.service"))
    await bus.own("org.freedesktop.systemd1")


async def test_from_ready_to_stopping(bus_address: str, connect: Connect, tmp_path: Path) -> None:
    systemd, client = await connect(), await connect()
    await be_systemd(systemd)
    async with demo(bus_address, tmp_path, WATCHDOG_USEC="200000") as room:
        await room.wait_told("READY=1")
        waiting = asyncio.create_task(client.call(NAME, PATH, NAME, "Wait"))
        await room.wait_told("WATCHDOG=1")
        room.told.clear()
        await room.wait_told("WATCHDOG=1")
        # A call of another connection has been identified, so this one is being handled.
        other = await connect()
        await other.call(NAME, PATH, "org.freedesktop.DBus.Properties", "GetAll", "s", NAME)
        room.process.send_signal(signal.SIGTERM)
        await room.wait_told("STOPPING=1")
        with pytest.raises(errors.Stopping):
            await client.call(NAME, PATH, NAME, "Wait")
        with pytest.raises(errors.Stopping):
            await waiting
        assert await room.end() == (Exit.OK, "call ended\nclosed\n", "")


async def test_ready_means_callable(bus_address: str, connect: Connect, tmp_path: Path) -> None:
    client = await connect()
    async with demo(bus_address, tmp_path) as room:
        await room.wait_told("READY=1")
        daemon = "org.freedesktop.DBus"
        assert await client.call1(daemon, "/", daemon, "NameHasOwner", "s", NAME)
        assert "STATUS=Running." in room.told


async def test_a_lost_bus_is_a_failure(bus_address: str, connect: Connect, tmp_path: Path) -> None:
    client = await connect()
    async with demo(bus_address, tmp_path) as room:
        await room.wait_told("READY=1")
        os.kill(await daemon_pid(client), signal.SIGKILL)
        status, output, error = await room.end()
    assert (status, output) == (Exit.FAILED, "closed\n")
    assert "connection to the bus was lost" in error
    assert "Traceback" not in error


async def test_a_bad_configuration(bus_address: str, tmp_path: Path) -> None:
    config = tmp_path / "hive.toml"
    config.write_text("[broker]\nmax_body_bytes = 0\n")
    async with demo(bus_address, tmp_path, HYPERHIVE_CONFIG=str(config)) as room:
        await room.wait_told("STATUS=")
        status, _, error = await room.end()
    assert status == Exit.CONFIG
    [line] = error.splitlines()
    assert "broker.max_body_bytes = 0 is not valid" in line
    assert room.told[-1].removeprefix("STATUS=") in line


async def test_a_corrupt_store(bus_address: str, tmp_path: Path) -> None:
    async with demo(bus_address, tmp_path, DEMO="corrupt") as room:
        await room.wait_told("STATUS=/var/lib/x.sqlite is corrupt;")
        status, _, error = await room.end()
    assert status == Exit.CONFIG
    assert len(error.splitlines()) == 1


async def test_a_full_disk(bus_address: str, tmp_path: Path) -> None:
    """systemd starts the service again at once, and the disk is full for long."""
    async with demo(bus_address, tmp_path, DEMO="full", PAUSE="0.5") as room:
        await room.wait_told("STATUS=The disk of /var/lib/x.sqlite is full.")
        began = asyncio.get_running_loop().time()
        status, _, error = await room.end()
    assert asyncio.get_running_loop().time() - began > 0.3
    assert status == Exit.FAILED
    assert len(error.splitlines()) == 1


async def test_a_taken_name(bus_address: str, connect: Connect, tmp_path: Path) -> None:
    await (await connect()).own(NAME)
    async with demo(bus_address, tmp_path) as room:
        status, output, error = await room.end()
    assert (status, output) == (Exit.FAILED, "closed\n")
    assert "Another connection owns the name org.hyperhive.Demo1" in error
    assert "READY=1" not in room.told


async def test_no_bus(tmp_path: Path) -> None:
    async with demo(f"unix:path={tmp_path / 'none'}", tmp_path) as room:
        status, _, error = await room.end()
    assert status == Exit.FAILED
    [line] = error.splitlines()
    assert "There is no bus" in line


@pytest.mark.parametrize(("how", "status"), [("returns", Exit.OK), ("raises", Exit.FAILED)])
async def test_run_ends(bus_address: str, tmp_path: Path, how: str, status: Exit) -> None:
    async with demo(bus_address, tmp_path, DEMO=how) as room:
        got, output, error = await room.end()
    assert (got, output) == (status, "closed\n")
    assert ("RuntimeError: run broke" in error) == (how == "raises")


async def test_an_error_at_the_end_is_logged(bus_address: str, tmp_path: Path) -> None:
    async with demo(bus_address, tmp_path, DEMO="breaks at its end") as room:
        await room.wait_told("READY=1")
        room.process.send_signal(signal.SIGTERM)
        got, output, error = await room.end()
    assert (got, output) == (Exit.OK, "closed\n")
    assert "The task service failed at its end." in error
    assert "RuntimeError: the end broke" in error


async def test_a_status_of_others_words_is_one_line(bus_address: str, tmp_path: Path) -> None:
    """A newline would begin another field, and what is not UTF-8 or too long would be dropped."""
    async with demo(bus_address, tmp_path, DEMO="corrupt", TEXT="a · b\nMAINPID=1\n\x1b…") as room:
        await room.wait_told("STATUS=")
        await room.end()
    assert room.told[-1] == "STATUS=a · b MAINPID=1 …"
    (tmp_path / "notify").unlink()
    async with demo(bus_address, tmp_path, DEMO="corrupt", TEXT="💥" * 5000) as room:
        await room.wait_told("STATUS=")
        await room.end()
    assert room.told[-1] == f"STATUS={'💥' * 497}..."
