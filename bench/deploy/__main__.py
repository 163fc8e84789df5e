"""The time from an approval until the agent runs with its new configuration.

`python -m bench.deploy [--quick]`; README.md describes the floors.
"""

import argparse
import sys
from typing import Final

from bench.hive import running
from bench.messages.measure import percentile
from bench.report import Floor, Report
from sandbox.hive import step
from sandbox.instance import SandboxError

DEPLOYS: Final = 20


def main() -> int:
    """Measure and publish; return 1, with a sentence, when there is no host."""
    parser = argparse.ArgumentParser(prog="bench.deploy", description="Measure deploys.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    report = Report("deploy", {"deploys": 2 if quick else DEPLOYS})
    try:
        with running("manager") as host:
            # It would read each message, and start a Claude Code for it.
            host.run("hivectl", "kill", "manager")
            with step(f"{report.parameters['deploys']} deploys"):
                number = str(report.parameters["deploys"])
                times = host.python("bench.deploy.measure", number)
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    add(report, times)
    report.publish(quick=quick)
    return 0


def add(report: Report, times: dict[str, list[float]]) -> None:
    """Add each time, against a restart by lifecycle and by systemd alone."""
    for what, moment, against, floor in (
        ("approved until READY", "ready", "a restart by lifecycle", "restart"),
        ("approved until READY", "ready", "a bare systemd-nspawn stopped and started", "bare"),
        ("approved until recorded as deployed", "recorded", "a restart by lifecycle", "restart"),
    ):
        for share in (0.5, 0.99):
            least = Floor(against, percentile(times[floor], share))
            report.add(f"{what}, p{share * 100:.0f}", percentile(times[moment], share), "s", least)
    report.add("submitted: fetched, checked, pinned, p50", percentile(times["submitted"], 0.5), "s")


if __name__ == "__main__":
    sys.exit(main())
