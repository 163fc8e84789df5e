"""A million hostile lines on the socket of the real endpoint.

`python -m bench.fuzz [--quick] [--inputs N] [--workers N] [--seed N] [--wave N]`; the last runs one
wave again.
"""

import argparse
import asyncio
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench.fuzz.waves import Target
from bench.report import Floor, Report
from services.endpoint.tests.play import ViolationError
from services.endpoint.tests.process import FAULTS, MIB, endpoint, services
from wire.testing import private_bus

MAX_MEMORY = 150 * MIB
"""MemoryMax= of the unit."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The work of one worker, and its cost for the endpoint; `broken` describes a violation."""

    broken: str
    lines: int
    waves: int
    memory: tuple[int, int, int]
    """Bytes: before, at most, at the end."""
    slowest_ping: float
    cpu: float


def main() -> int:
    """Attack and publish; return 1, and name the wave, when a promise was broken."""
    parser = argparse.ArgumentParser(prog="bench.fuzz", description="Attack an agent's socket.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="lines to write")
    parser.add_argument("--workers", type=int, default=2, help="endpoints, each with its attacker")
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of the first worker; the others use the next ones"
    )
    parser.add_argument("--wave", type=int, help="run only this wave")
    options = parser.parse_args()
    workers = 1 if options.wave is not None else options.workers
    inputs = (5000 if options.quick else options.inputs) // workers + 1
    seeds, began = range(options.seed, options.seed + workers), perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        running = [pool.submit(work, inputs, seed, options.wave) for seed in seeds]
        outcomes = [one.result() for one in running]
    for outcome in outcomes:
        print(outcome.broken, file=sys.stderr, end="")
    if any(outcome.broken for outcome in outcomes):
        return 1
    report = Report("fuzz", {"workers": workers, "seed_of_the_first": options.seed})
    _fill(report, outcomes, perf_counter() - began)
    report.publish(quick=options.quick or options.wave is not None)
    return 0


def _fill(report: Report, outcomes: list[Outcome], seconds: float) -> None:
    lines = sum(outcome.lines for outcome in outcomes)
    before, most, after = (
        max(bytes) / MIB for bytes in zip(*(o.memory for o in outcomes), strict=True)
    )
    floor = Floor("before the first line", before)
    report.add("lines, each answered as it must be", lines, "lines")
    report.add("waves, each followed by an honest client", sum(o.waves for o in outcomes), "waves")
    report.add("lines a second, while all is checked", lines / seconds, "lines/s")
    report.add("most memory of an endpoint", most, "MiB", floor)
    report.add("memory after the last line", after, "MiB", floor)
    report.add("slowest ping of another connection", max(o.slowest_ping for o in outcomes), "s")
    cpu = sum(outcome.cpu for outcome in outcomes)
    report.add("CPU of an endpoint for a line", cpu / lines * 1e6, "us")


def work(inputs: int, seed: int, only: int | None) -> Outcome:
    """Run one worker: waves until `inputs` lines are written."""
    with tempfile.TemporaryDirectory(prefix="hive-fuzz-") as folder:
        return asyncio.run(attack(Path(folder), inputs, seed, only))


async def attack(folder: Path, inputs: int, seed: int, only: int | None) -> Outcome:
    """Run waves against an endpoint of its own, until one breaks something."""
    async with (
        private_bus() as address,
        services(address) as broker,
        endpoint(address, folder, "manager") as process,
    ):
        target, before = Target(process, broker, seed), process.resident()
        wave, broken = only or 0, ""
        async with target.canary():
            while not broken and target.lines < inputs and (only is None or wave == only):
                if found := await _broken(target, wave):
                    broken = f"seed {seed}, wave {wave}: {found}\n"
                wave += 1
                if wave % 100 == 0:
                    print(f"seed {seed}: {target.lines} lines", flush=True)
        memory = (before, process.peak(), process.resident()) if process.alive else (0, 0, 0)
        cpu = process.cpu() if process.alive else 0
        return Outcome(broken, target.lines, wave, memory, target.slowest_ping, cpu)


async def _broken(target: Target, wave: int) -> str:
    """Run a wave; return the violation, or nothing."""
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
