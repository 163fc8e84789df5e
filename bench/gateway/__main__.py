"""The cost of the gateway: the time that it adds to a stream, its processor time and its memory.

`python -m bench.gateway [--quick]`; README.md describes the figures. The gateway and the ledger are
processes of their own, on a bus of their own; the direct connection is measured in the same run.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic

from bench.gateway.client import Connect, Times, request, streams
from bench.report import Floor, Report
from services.gateway.tests.process import REPO, gateway
from services.gateway.tests.stage import write_settings
from wire import names
from wire.bus import Bus
from wire.testing import FakeSystemd, FixedPrincipals, private_bus

TOKENS, PACE = 100, 0.01
ROUNDS = {1: 40, 20: 4}
"""Streams one after the other on each connection, by the number of connections."""
TURNS = 5
SIZE = 50_000
"""Bytes of a request: the smallest one of Claude Code."""
DIRECT, GATEWAY = "direct", "gateway"
MEGABYTE = 1_000_000


def main() -> int:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="bench.gateway", description="Measure the gateway.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="hive-gateway-") as folder:
        report = asyncio.run(measured(Path(folder), quick=quick))
    report.publish(quick=quick)
    return 0


async def measured(folder: Path, *, quick: bool) -> Report:
    """Return all figures; the direct connection and the gateway take turns."""
    tokens, turns = (10, 1) if quick else (TOKENS, TURNS)
    report = Report(
        "gateway", {"tokens": tokens, "pace_ms": 1000 * PACE, "bytes_of_a_request": SIZE}
    )
    (folder / "settings").mkdir()
    async with (
        upstream(tokens) as port,
        private_bus() as address,
        systemd(address),
        ledger(address, folder),
    ):
        write_settings(folder / "settings", upstream=f"http://127.0.0.1:{port}")
        async with gateway(address, folder) as process:
            pid = process.process.pid
            ways: dict[str, Connect] = {
                DIRECT: lambda: asyncio.open_connection("127.0.0.1", port),
                GATEWAY: lambda: asyncio.open_unix_connection(str(folder / "api.sock")),
            }
            data = request(SIZE)
            await streams(ways[GATEWAY], data, 1, 3)  # connections, and what loads late
            idle = resident(pid)
            for count, rounds in ROUNDS.items():
                times = {way: Times() for way in ways}
                spent = lasted = 0.0
                for _ in range(turns):
                    for way, connect in ways.items():
                        began, used = monotonic(), cpu(pid)
                        got = await streams(connect, data, count, 1 if quick else rounds)
                        times[way].first += got.first
                        times[way].token += got.token
                        if way == GATEWAY:
                            spent += cpu(pid) - used
                            lasted += (monotonic() - began) * count
                add_times(report, count, times)
                report.add(f"CPU a second of a stream, {many(count)}", 1e3 * spent / lasted, "ms")
            report.add("memory, idle", idle / MEGABYTE, "MB")
            most = max(resident(pid) - idle, 0)
            report.add("memory a stream, of 20", most / 20 / MEGABYTE, "MB")
    return report


def add_times(report: Report, count: int, times: dict[str, Times]) -> None:
    """Add the times of both ways, and what the gateway adds."""
    for what, of in (("first byte", "first"), ("delay of a token", "token")):
        direct, passed = (getattr(times[way], of) for way in (DIRECT, GATEWAY))
        for name, pick in (("p50", median), ("p99", _p99)):
            floor = Floor("the direct connection", pick(direct))
            report.add(f"{what}, {many(count)}, {name}", pick(passed), "ms", floor)
        added = median(passed) - median(direct)
        report.add(f"added to the {what}, {many(count)}, p50", added, "ms")


def many(count: int) -> str:
    """Return a number of streams in words."""
    return "one stream" if count == 1 else f"{count} streams"


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) * 1024


def cpu(pid: int) -> float:
    """Return the seconds of processor time of a process, with all its threads."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@asynccontextmanager
async def upstream(tokens: int) -> AsyncIterator[int]:
    """Run the upstream; yield its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.gateway.upstream", str(tokens), str(PACE)),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPO,
    )
    try:
        assert process.stdout is not None
        yield int(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def systemd(address: str) -> AsyncIterator[None]:
    """Run a systemd that knows every caller as alice's gateway."""
    bus = await Bus.connect(address, FixedPrincipals())
    bus.export("/org/freedesktop/systemd1", FakeSystemd(names.gateway_unit("alice")))
    await bus.own("org.freedesktop.systemd1")
    try:
        yield
    finally:
        await bus.close()


@asynccontextmanager
async def ledger(address: str, folder: Path) -> AsyncIterator[None]:
    """Run the real ledger."""
    state = folder / "ledger"
    state.mkdir()
    watcher = await Bus.connect(address, FixedPrincipals())
    came = asyncio.Event()
    await watcher.on_owner(names.LEDGER, came=lambda _: came.set(), went=lambda _: None)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ledger"),
        cwd=REPO,
        env={
            **{key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"},
            "DBUS_SYSTEM_BUS_ADDRESS": address,
            "STATE_DIRECTORY": str(state),
        },
    )
    try:
        async with asyncio.timeout(30):
            await came.wait()
        yield
    finally:
        process.terminate()
        await process.wait()
        await watcher.close()


if __name__ == "__main__":
    sys.exit(main())
