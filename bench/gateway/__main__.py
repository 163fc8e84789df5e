"""The cost of the gateway: the time that it adds to a stream, its processor time and its memory.

`python -m bench.gateway [--quick]`; README.md describes the figures. The gateway and the ledger are
processes of their own, on a bus of their own; the floors are measured in the same run, in turn.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import Final

from bench.gateway import calls, parts
from bench.gateway.client import Times, request, streams
from bench.gateway.parts import Way
from bench.report import Floor, Report
from services.gateway.tests.process import gateway
from services.gateway.tests.stage import write_settings
from wire.testing import private_bus

PACE: Final = 0.01
SHORT, LONG = 2, 100
"""Tokens of a stream whose first byte matters, and of one whose tokens matter."""
SMALL, LARGE = 50_000, 400_000
"""Bytes of a request: the smallest one of Claude Code, and one of a long conversation."""
MANY: Final = 20
TURNS: Final = 12
"""How often the ways take turns."""
ROUNDS: Final = 12
"""Short streams of a turn."""
MEGABYTE: Final = 1_000_000


@dataclass
class Measured:
    """The times of one way, and the processor time of its process."""

    times: Times = field(default_factory=Times)
    cpu: float = 0.0
    lasted: float = 0.0
    """Seconds of streams during which it was used."""


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
    """Return all figures."""
    report = Report("gateway", {"pace_ms": 1000 * PACE, "bytes_of_a_request": SMALL})
    (folder / "settings").mkdir()
    async with (
        parts.upstream(PACE) as port,
        parts.bare_proxy(folder, port) as bare,
        private_bus(stderr=asyncio.subprocess.DEVNULL) as address,
        parts.systemd(address),
        parts.ledger(address, folder) as ledger,
    ):
        write_settings(folder / "settings", upstream=f"http://127.0.0.1:{port}")
        async with gateway(address, folder) as process:
            through = Way(
                lambda: asyncio.open_unix_connection(str(folder / "api.sock")), process.process.pid
            )
            ways = [Way(lambda: asyncio.open_connection("127.0.0.1", port)), bare, through]
            await add_streams(report, ways, ledger, quick=quick)
        samples = 3 if quick else 150
        add_calls(report, await calls.measured(address, samples=samples, gateways=MANY))
    return report


async def add_streams(report: Report, ways: list[Way], ledger: int, *, quick: bool) -> None:
    """Measure streams, and add the figures."""
    turns, rounds, length = (1, 2, 10) if quick else (TURNS, ROUNDS, LONG)
    await in_turn(ways, request(SMALL, SHORT), 1, 3, turns=1)  # what loads late
    idle = resident(ways[-1].pid)
    for size in (SMALL, LARGE):
        got = await in_turn(ways, request(size, SHORT), 1, rounds, turns=turns)
        which = "" if size == SMALL else f", a request of {size // 1000} kB"
        add_times(report, f"first byte{which}", [one.times.first for one in got])
    got = await in_turn(ways, request(SMALL, length), 1, 1, turns=turns)
    add_times(report, "delay of a token", [one.times.token for one in got])
    add_cpu(report, "one stream", got)
    used = cpu(ledger)
    got = await in_turn(ways, request(SMALL, length), MANY, 2, turns=max(1, turns // 4))
    used = cpu(ledger) - used
    add_times(report, f"first byte, {MANY} streams", [one.times.first for one in got])
    add_times(report, f"delay of a token, {MANY} streams", [one.times.token for one in got])
    add_cpu(report, f"{MANY} streams", got)
    requests = len(got[-1].times.first) * 3 // 2  # with those that are not counted
    report.add("CPU of the ledger for a request", 1e3 * used / requests, "ms")
    report.add("memory, idle", idle / MEGABYTE, "MB")
    running = asyncio.create_task(streams(ways[-1].connect, request(SMALL, length), MANY, 1))
    await asyncio.sleep(length * PACE)  # all of them are in their middle
    report.add(
        f"memory a stream, of {MANY}", (resident(ways[-1].pid) - idle) / MANY / MEGABYTE, "MB"
    )
    await running


async def in_turn(
    ways: list[Way], data: bytes, count: int, rounds: int, *, turns: int
) -> list[Measured]:
    """Measure the ways in turn, so that what disturbs one disturbs the others, too."""
    found = [Measured() for _ in ways]
    for _ in range(turns):
        for way, one in zip(ways, found, strict=True):
            began, used = monotonic(), cpu(way.pid)
            got = await streams(way.connect, data, count, rounds)
            one.cpu += cpu(way.pid) - used
            one.lasted += (monotonic() - began) * count
            one.times.first += got.first
            one.times.token += got.token
    return found


def add_times(report: Report, what: str, times: list[list[float]]) -> None:
    """Add the times of the three ways, and what the last two of them add to the first."""
    direct, bare, passed = times
    for name, pick in (("p50", median), ("p99", _p99)):
        floor = Floor("the direct connection", pick(direct))
        report.add(f"{what}, {name}", pick(passed), "ms", floor)
    floor = Floor("a bare proxy", median(bare) - median(direct))
    report.add(f"added to the {what}, p50", median(passed) - median(direct), "ms", floor)


def add_cpu(report: Report, which: str, found: list[Measured]) -> None:
    """Add the processor time of the gateway beside that of the bare proxy."""
    _, bare, passed = (1e3 * one.cpu / one.lasted for one in found)
    report.add(f"CPU a second of a stream, {which}", passed, "ms", Floor("a bare proxy", bare))


def add_calls(report: Report, found: calls.Calls) -> None:
    """Add the times of calls to the ledger."""
    floor = Floor("a bare call", median(found.bare))
    report.add("Reserve, p50", median(found.reserve), "ms", floor)
    report.add("Reserve, p99", _p99(found.reserve), "ms", Floor("a bare call", _p99(found.bare)))
    report.add(f"Reserve, {MANY} gateways, p50", median(found.crowded), "ms", floor)
    report.add(f"Reserve, {MANY} gateways, p99", _p99(found.crowded), "ms")


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
    """Return the seconds of processor time of a process, with all its threads; 0 for no process."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    sys.exit(main())
