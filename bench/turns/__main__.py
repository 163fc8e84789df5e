"""The time from a durable message to the model's first request, and what a turn costs.

`python -m bench.turns [--quick]`; README.md describes the classic way beside it.
"""

import argparse
import sys
from typing import Any, Final

from bench.hive import PORTS, running
from bench.messages.measure import percentile
from bench.report import Floor, Report
from sandbox.hive import MODEL_HOST, step
from sandbox.instance import SandboxError

TURNS: Final = 30
STARTS: Final = 6

CLASSIC: Final = "the classic way, later"


def main() -> int:
    """Measure and publish; return 1, with a sentence, when there is no host."""
    parser = argparse.ArgumentParser(prog="bench.turns", description="Measure turns.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    turns, starts = (3, 2) if quick else (TURNS, STARTS)
    report = Report("turns", {"turns": turns, "first_turns_and_resumes": starts})
    try:
        with running("alice") as host:
            host.configure("harness.environment", {"CLAUDE_CODE_MAX_RETRIES": "0"})
            with step(f"{turns} turns, {starts} first turns, {starts} resumes, both ways"):
                model = f"http://{MODEL_HOST}:{PORTS.model}"
                found = host.python("bench.turns.measure", model, str(turns), str(starts))
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    add(report, found)
    report.publish(quick=quick)
    return 0


def add(report: Report, found: dict[str, Any]) -> None:
    """Add the figures, against those of the classic way."""
    ours, classic = found["hive"], found["classic"]
    floors = {"first": "first", "later": "later", "resumed": "later"}
    words = {"first": "first turn", "later": "later turn", "resumed": "turn after a resume"}
    for kind, floor in floors.items():
        for share in (0.5, 0.99):
            value = percentile(classic["latency"][floor], share) * 1000
            against = Floor(f"the classic way, {floor} turn", value)
            what = f"{words[kind]}: durable until the first request, p{share * 100:.0f}"
            report.add(what, percentile(ours["latency"][kind], share) * 1000, "ms", against)
    cpu = Floor("the classic way", percentile(classic["cpu"], 0.5) * 1000)
    report.add("CPU of a later turn, p50", percentile(ours["cpu"], 0.5) * 1000, "ms", cpu)
    memory = Floor("the classic way", percentile(classic["memory"], 0.5) / 2**20)
    report.add("memory in a turn, p50", percentile(ours["memory"], 0.5) / 2**20, "MiB", memory)
    report.add("memory between turns, while the session is kept", ours["idle"] / 2**20, "MiB")
    report.add("memory between turns, when the session was closed", ours["closed"] / 2**20, "MiB")


if __name__ == "__main__":
    sys.exit(main())
