"""The cost of a long history: the same calls on stores of 1,000 and of 1,000,000 messages.

`python -m bench.scale [--quick]`; README.md describes the figures.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from bench.report import Floor, Report
from bench.scale.fill import fill
from bench.scale.measure import measure
from sandbox.hive import step

FEW: Final = 1000
MANY: Final = 1_000_000
SAMPLES: Final = 300
LIMIT: Final = 1.5
"""The factor by which a call may take longer with many messages."""


def main() -> int:
    """Measure and publish; return 1 when a call takes more than LIMIT times as long."""
    parser = argparse.ArgumentParser(prog="bench.scale", description="Measure a long past.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    many, samples = (20_000, 20) if quick else (MANY, SAMPLES)
    # Not below /tmp: what is in memory there has no disk to wait for.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="bench-scale-") as made:
        stores = {count: Path(made) / f"{count}.sqlite" for count in (FEW, many)}
        for count, path in stores.items():
            with step(f"a store with {count:,} messages"):
                fill(path, count)
        with step("the calls, on both in turn"):
            times = asyncio.run(measure(stores[FEW], stores[many], samples))
    report = Report("scale", {"messages": many, "samples": samples})
    ratios = [
        report.add(what, long, "ms", Floor(f"with {FEW:,}", short)).ratio or 0
        for what, (short, long) in times.items()
    ]
    report.publish(quick=quick)
    if max(ratios) > LIMIT and not quick:
        print(f"bench: a call takes more than {LIMIT} times as long", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
