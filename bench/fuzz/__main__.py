"""A million hostile lines on the socket of the real endpoint.

`python -m bench.fuzz [--quick] [--inputs N] [--seed N] [--wave N]`; the last runs one wave again.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from bench.fuzz.waves import Target
from bench.report import Floor, Report
from services.agent.tests.play import ViolationError
from services.agent.tests.process import FAULTS, MIB, endpoint, services
from wire.testing import private_bus

MAX_MEMORY = 150 * MIB
"""MemoryMax= of the unit."""


def main() -> int:
    """Attack and publish; returns 1, and says which wave it was, when a promise was broken."""
    parser = argparse.ArgumentParser(prog="bench.fuzz", description="Attack an agent's socket.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="lines to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--wave", type=int, help="run this one only")
    options = parser.parse_args()
    inputs = 5000 if options.quick else options.inputs
    with tempfile.TemporaryDirectory(prefix="hive-fuzz-") as folder:
        report = asyncio.run(attack(Path(folder), inputs, options.seed, options.wave))
    if report is None:
        return 1
    report.publish(quick=options.quick or options.wave is not None)
    return 0


async def attack(folder: Path, inputs: int, seed: int, only: int | None) -> Report | None:
    """Waves until `inputs` lines are written; None when something broke."""
    async with (
        private_bus() as address,
        services(address) as broker,
        endpoint(address, folder, "manager") as process,
    ):
        target, before, began = Target(process, broker, seed), process.resident(), perf_counter()
        wave = only or 0
        async with target.canary():
            while target.lines < inputs and (only is None or wave == only):
                if broken := await _broken(target, wave):
                    print(f"seed {seed}, wave {wave}: {broken}", file=sys.stderr)
                    return None
                wave += 1
                if wave % 100 == 0:
                    print(f"{target.lines} lines, {process.peak() / MIB:.1f} MiB", flush=True)
        seconds = perf_counter() - began
        report = Report("fuzz", {"seed": seed, "waves": wave})
        report.add("lines, each answered as it must be", target.lines, "lines")
        report.add("lines a second, while all is checked", target.lines / seconds, "lines/s")
        floor = Floor("before the first line", before / MIB)
        report.add("most memory of the endpoint", process.peak() / MIB, "MiB", floor)
        report.add("memory after the last line", process.resident() / MIB, "MiB", floor)
        report.add("slowest ping of another connection", target.slowest_ping * 1000, "ms")
        report.add("CPU of the endpoint for a line", process.cpu() / target.lines * 1e6, "us")
        return report


async def _broken(target: Target, wave: int) -> str:
    """Run a wave; what has gone wrong, or nothing."""
    try:
        await target.wave(wave)
    except (ViolationError, OSError, TimeoutError) as error:
        return str(error) or type(error).__name__
    except ExceptionGroup as group:
        return "; ".join(str(error) or type(error).__name__ for error in group.exceptions)
    if not target.process.alive:
        return "the endpoint has died"
    if target.process.peak() > MAX_MEMORY:
        return f"the endpoint has grown to {target.process.peak() / MIB:.0f} MiB"
    if found := FAULTS.search(log := target.process.log.read_text()):
        return f"its log says: {log[max(0, found.start() - 500) : found.end() + 2000]}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
