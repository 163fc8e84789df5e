"""Kill -9 of anything at any time: is a message lost, or silently handed out twice?

`python -m bench.chaos [--rounds N] [--seed N] [--fault NAME] [--quick]`; see bench/README.md.
"""

import argparse
import random
import sys
from typing import Final

from bench.chaos.driver import Outcome
from bench.chaos.sabotage import NAMES
from bench.hive import Host, running
from bench.report import Floor, Report
from sandbox.instance import SandboxError

ROUNDS: Final = 200
AGENTS: Final = ("manager", "alice", "bob")


def main() -> int:
    """Run and publish; return 1 if something is wrong, or, with a fault, if nothing was found."""
    parser = argparse.ArgumentParser(prog="bench.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    parser.add_argument("--rounds", type=int, default=0, help=f"number of rounds; default {ROUNDS}")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--fault", choices=NAMES, default="", help="run a broker with this fault")
    options = parser.parse_args()
    rounds = options.rounds or (5 if options.quick else ROUNDS)
    print(f"  {rounds} rounds, seed {options.seed}", flush=True)
    try:
        # Its clients write to each other without end.
        with running(*AGENTS, broker={"loop_messages": 0}) as host:
            outcome = caused(host, rounds, options.seed, options.fault)
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for violation in outcome["violations"]:
        print(f"WRONG: {violation}", file=sys.stderr)
    if options.fault:
        return 0 if outcome["wrong"] else 1
    report(outcome, options.seed).publish(quick=options.quick or outcome["wrong"] > 0)
    return 1 if outcome["wrong"] else 0


def caused(host: Host, rounds: int, seed: int, fault: str) -> Outcome:
    """Return the outcome of a run, with the journal if something is wrong."""
    outcome: Outcome = host.python(
        "bench.chaos.driver", str(rounds), str(seed), *[fault] * bool(fault)
    )
    if outcome["wrong"] and not fault:
        units = [f"--unit={unit}" for unit in ("hive-*", "systemd-nspawn@*")]
        print(host.run("journalctl", "--output=short-precise", "--lines=300", *units))
    return outcome


def report(outcome: Outcome, seed: int) -> Report:
    """Return the report: the victims, the moments of the kills, and the outcome."""
    report = Report("chaos", {"rounds": outcome["rounds"], "seed": seed})
    report.add("messages lost, doubled or out of order", outcome["wrong"], "violations")
    report.add("messages", outcome["messages"], "messages")
    report.add("hand-outs", outcome["hand_outs"], "times", Floor("one each", outcome["messages"]))
    report.add("redeliveries, each with its count", outcome["redeliveries"], "times")
    report.add("the most redeliveries of one message", outcome["most_redeliveries"], "times")
    report.add("dead letters at the end", outcome["states"].get("dead", 0), "messages")
    for victim, times in sorted(outcome["kills"].items()):
        report.add(f"kill -9: {victim}", times, "times")
    for state, times in sorted(outcome["during"].items()):
        report.add(f"killed during {state}", times, "times")
    report.add("systemd gave up on a container", outcome["given_up"], "times")
    report.add("the longest until all went on", outcome["slowest"], "s")
    return report


if __name__ == "__main__":
    sys.exit(main())
