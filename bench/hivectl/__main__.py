"""The processor time of hivectl, from its start until it has printed, against its bare imports.

`python -m bench.hivectl [--quick]`; it fails when a command takes more than 1.3 times its imports,
or `list` with a hundred agents 0.3 s or longer. The services are stand-ins on a bus of their own,
so the figures are those of hivectl alone.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Final

from bench.report import Floor, Report
from hivectl.tests.fake_hive import FakeHive
from wire.bus import Bus
from wire.testing import FixedPrincipals, private_bus

AGENTS: Final = 100
RUNS: Final = 25
MOST: Final = 1.3
"""The most that a start may take, in multiples of the bare imports."""
LIST_SECONDS: Final = 0.3

COMMANDS: Final = {
    "--version": "import click, importlib.metadata",
    "list": "import asyncio, click, shutil; from hivectl.clients.hive import Hive",
    "history": "import asyncio, click, shutil; from hivectl.clients.hive import Hive",
}
"""The commands, with their bare imports: those of the libraries and clients that they need."""


def main() -> int:
    """Measure and publish; return 1, with a sentence, when hivectl is too slow."""
    parser = argparse.ArgumentParser(prog="bench.hivectl", description="Measure hivectl's start.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    runs = 3 if quick else RUNS
    report = Report("hivectl", {"agents": AGENTS, "runs": runs})
    slow = asyncio.run(_measure(report, runs))
    report.publish(quick=quick)
    if slow and not quick:
        print(f"bench: {'; '.join(slow)}", file=sys.stderr)
        return 1
    return 0


async def _measure(report: Report, runs: int) -> list[str]:
    slow = []
    async with private_bus() as address:
        bus = await Bus.connect(address, FixedPrincipals())
        try:
            hive = FakeHive(bus)
            await hive.up()
            for number in range(AGENTS - len(hive.lifecycle.agents)):
                hive.lifecycle.add(f"agent-{number}")
                hive.broker.queue("alice", "a body of some words", to="bob-2")
            environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": address}
            for command, imports in COMMANDS.items():
                found = await _pairs(command, imports, environment, runs)
                floor = Floor(f"`{imports}`", found[1] * 1000)
                figure = report.add(
                    f"`hivectl {command}`: processor time", found[0] * 1000, "ms", floor
                )
                if figure.ratio and figure.ratio > MOST:
                    slow.append(f"hivectl {command} takes {figure.ratio} times its imports")
                if command == "list" and found[0] >= LIST_SECONDS:
                    slow.append(f"hivectl list takes {found[0]:.2f} s with {AGENTS} agents")
        finally:
            await bus.close()
    return slow


async def _pairs(
    command: str, imports: str, environment: dict[str, str], runs: int
) -> tuple[float, float]:
    """Return the medians of a command and of its imports, in seconds; they are run in turn."""
    measured: list[float] = []
    floor: list[float] = []
    for _ in range(runs):
        measured.append(await asyncio.to_thread(_cpu, ["-m", "hivectl", command], environment))
        floor.append(await asyncio.to_thread(_cpu, ["-c", f"{imports}; print(1)"], environment))
    return statistics.median(measured), statistics.median(floor)


def _cpu(arguments: Sequence[str], environment: dict[str, str]) -> float:
    """Return the processor time of a Python process, which must print something, in seconds."""
    reading, writing = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_CLOSE, reading)],
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        printed = output.read()
    _, status, used = os.wait4(pid, 0)
    if not printed or status:
        raise RuntimeError(f"{arguments} printed nothing, or failed")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
