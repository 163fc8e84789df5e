"""The cost of projects beside git alone: adding, fetching, working copies and changes.

`python -m bench.projects [--quick]`; README.md describes the figures. The service runs in this
process, on a bus of its own; git and the upstreams are real.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

from bench.projects import handing, upstreams
from bench.projects.upstreams import Size
from bench.projects.ways import Way, git, hive, timed
from bench.report import Floor, Report
from sandbox.hive import step

SMALL: Final = Size(files=100, bytes=2**20, commits=50)
LARGE: Final = Size(files=50_000, bytes=2 * 2**30, commits=100)
QUICK: Final = Size(files=500, bytes=10 * 2**20, commits=10)
RUNS: Final = 30
CHANGES: Final = 3
"""Fetches of the large one, each after another commit."""
FACTOR: Final = 1.5
MORE: Final = 0.05
"""The aim: FACTOR times git alone, and MORE seconds."""
BUILD: Final = Path(__file__).parents[2] / ".build"
"""Not below /var/tmp, where projects takes no upstream."""
MILLISECONDS: Final = 1000
MEGABYTE: Final = 1_000_000


def main() -> int:
    """Measure and publish; return 1, with a sentence, when the aim is missed."""
    parser = argparse.ArgumentParser(prog="bench.projects", description="Measure projects.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bench-projects-") as made:
        report, missed = measured(Path(made), quick=quick)
    report.publish(quick=quick)
    if missed and not quick:
        print(f"bench: {'; '.join(missed)}", file=sys.stderr)
        return 1
    return 0


def measured(directory: Path, *, quick: bool) -> tuple[Report, list[str]]:
    """Return all figures, and a sentence for each that misses the aim."""
    runs, large = (2, QUICK) if quick else (RUNS, LARGE)
    report = Report("projects", {"runs": runs, "files of the large one": large.files})
    missed: list[str] = []

    def add(what: str, ours: float, alone: float) -> None:
        report.add(what, ours * MILLISECONDS, "ms", Floor("git alone", alone * MILLISECONDS))
        if ours > FACTOR * alone + MORE:
            missed.append(f"{what} takes {ours:.2f} s, and git alone {alone:.2f} s")

    upstream = directory / "small.git"
    upstreams.make(upstream, SMALL)
    with step("small repositories, in turn"):
        for what, (ours, alone) in asyncio.run(_small(directory, upstream, runs)).items():
            add(what, ours, alone)
    upstream = directory / "large.git"
    with step(f"an upstream of {large.bytes / 2**30:.2g} GiB and {large.files:,} files"):
        upstreams.make(upstream, large)
    found = {}
    for name in ("git", "hive"):
        with step(f"the large one, {name}"):
            found[name] = _large(name, directory / f"large-{name}", upstream)
    size = f"{large.bytes / 2**30:.2g} GiB"
    add(f"add one of {size}", found["hive"]["add"], found["git"]["add"])
    add(f"fetch a commit into one of {size}", found["hive"]["fetch"], found["git"]["fetch"])
    add(f"make a working copy of {size}", found["hive"]["check out"], found["git"]["check out"])
    report.add(
        f"most memory of a git, one of {size}",
        found["hive"]["memory"] / MEGABYTE,
        "MB",
        Floor("git alone", found["git"]["memory"] / MEGABYTE),
    )
    return report, missed


async def _small(directory: Path, upstream: Path, runs: int) -> dict[str, tuple[float, float]]:
    """Return the medians of both ways, in seconds; they are measured in turn."""
    times: dict[str, tuple[list[float], list[float]]] = {
        what: ([], [])
        for what in ("add", "fetch, nothing new", "fetch a commit", "make a working copy")
    }
    work = [directory / "hive-work", directory / "git-work"]
    for folder in work:
        folder.mkdir()

    async def measure(what: str, ways: tuple[Way, Way], name: str) -> None:
        for way, taken in zip(ways, times[what], strict=True):
            doing = way.add(name, upstream) if what == "add" else way.fetch(name)
            taken.append(await timed(doing))

    async def check_out(ways: tuple[Way, Way], name: str) -> None:
        for way, place, taken in zip(ways, work, times["make a working copy"], strict=True):
            taken.append(await timed(way.check_out(name, place)))

    async with hive(directory / "hive") as ours, git(directory / "git") as alone:
        ways = ours, alone
        for run in range(runs):
            name = f"p{run}"
            await measure("add", ways, name)
            await measure("fetch, nothing new", ways, name)
            upstreams.commit(upstream, run)
            await measure("fetch a commit", ways, name)
            await check_out(ways, name)
        (directory / "handing").mkdir()
        copies = directory / "agents/alice/work"
        handed = await handing.measure(ours, directory / "handing", copies, SMALL, runs)
    return {what: (median(one), median(other)) for what, (one, other) in times.items()} | handed


def _large(name: str, directory: Path, upstream: Path) -> dict[str, float]:
    command = [sys.executable, "-B", "-m", "bench.projects.ways"]
    command += [name, str(directory), str(upstream), str(CHANGES)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=BUILD.parent)
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
