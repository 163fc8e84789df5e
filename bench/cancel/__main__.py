"""The time from the operator's click on `Cancel` until the agent is idle.

`python -m bench.cancel [--quick]`; it fails when one of a hundred takes a second or longer.
"""

import argparse
import sys
from typing import Final

from bench.cancel.measure import AGENT, Figures
from bench.hive import running
from bench.messages.measure import percentile
from bench.report import Floor, Report
from sandbox.hive import step
from sandbox.instance import SandboxError

TURNS: Final = 50
AIM: Final = 1.0

KINDS: Final = {"command": "a command runs", "answer": "the model writes its answer"}


def main() -> int:
    """Measure and publish; return 1, with a sentence, when there is no host or it is too slow."""
    parser = argparse.ArgumentParser(prog="bench.cancel", description="Measure cancellations.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    turns = 3 if quick else TURNS
    report = Report("cancel", {"turns of each kind": turns})
    try:
        with running(AGENT) as host, step(f"{turns} turns of each kind are cancelled"):
            found: Figures = host.python("bench.cancel.measure", str(turns))
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    add(report, found)
    report.publish(quick=quick)
    slow = [kind for kind in KINDS if percentile(found[kind], 0.99) >= AIM]
    if slow and not quick:
        print(f"bench: p99 is not below {AIM:g} s while {KINDS[slow[0]]}", file=sys.stderr)
        return 1
    return 0


def add(report: Report, found: Figures) -> None:
    """Add the figures, against a cancellation that the harness refuses, since no turn runs."""
    floor = Floor("a cancellation without a turn", percentile(found["floor"], 0.5) * 1000)
    for kind, words in KINDS.items():
        for what, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
            value = percentile(found[kind], share) * 1000
            report.add(f"{words}: click until idle, {what}", value, "ms", floor)


if __name__ == "__main__":
    sys.exit(main())
