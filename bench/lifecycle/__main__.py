"""The life of a container: the times of its parts, and the cost of having one.

`python -m bench.lifecycle [--quick]` measures the figures of README.md. With `--minutes 16` clients
give random orders for so long, and then the host is searched for remains.
"""

import argparse
import random
import sys
from typing import Final

from bench.hive import Host, running
from bench.lifecycle.many import Many
from bench.lifecycle.measure import Times
from bench.messages.measure import percentile
from bench.report import Floor, Report
from sandbox.hive import step
from sandbox.instance import SandboxError

FULL: Final = {"starts": 20, "wakes": 10, "crashes": 100, "agents": 20, "seconds": 60}
QUICK: Final = {"starts": 2, "wakes": 1, "crashes": 2, "agents": 3, "seconds": 2}
CLIENTS: Final = 4
MEGABYTE: Final = 1_000_000
NSPAWN: Final = "bare systemd-nspawn"
LISTENER: Final = "a bare listener of MachineRemoved"
GROUPS: Final = {
    "services": "the services",
    "endpoints": "the endpoints",
    "harnesses": "the harnesses",
    "containers": "the containers' systemd and journal",
    "host": "the host's systemd, bus and journal",
}


def main() -> int:
    """Measure and publish; return 1, with a sentence, when there is no host or a fault."""
    parser = argparse.ArgumentParser(prog="bench.lifecycle", description="Measure containers.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="give random orders for N minutes; measure nothing",
    )
    parser.add_argument("--seed", default=str(random.randrange(10**6)), help="seed of the orders")
    options = parser.parse_args()
    try:
        with running("manager") as host:
            # It would read each message, and start a Claude Code for it.
            host.run("hivectl", "kill", "manager")
            if options.minutes is not None:
                return ordered(host, options.minutes, options.seed)
            return measured(host, QUICK if options.quick else FULL, quick=options.quick)
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


def ordered(host: Host, minutes: float, seed: str) -> int:
    """Give random orders; print what was wrong afterwards, and return 1 if anything was."""
    with step(f"{CLIENTS} clients order at random for {minutes:g} minutes, seed {seed}"):
        outcome = host.python("bench.lifecycle.verbs", str(minutes * 60), str(CLIENTS), seed)
    print(f"  {outcome['jobs']} jobs: {outcome['count']}")
    return told(outcome["wrong"])


def told(wrong: list[str]) -> int:
    """Print what is wrong; return 1 if anything is."""
    for sentence in wrong:
        print(f"WRONG: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


def measured(host: Host, sizes: dict[str, int], *, quick: bool) -> int:
    """Publish all figures; if anything was wrong, print it and keep nothing."""

    def part(what: str) -> Times:
        with step(f"{what}, {sizes[what]} times"):
            times: Times = host.python("bench.lifecycle.measure", what, str(sizes[what]))
        return times

    host.configure("lifecycle.agents.sleeper", {"sleep_after": 1})
    host.run("systemctl", "restart", "hive-lifecycle.service")
    report = Report("lifecycle", sizes)
    starts = part("starts")
    add_starts(report, starts)
    add_wakes(report, part("wakes"), starts["bare start"])
    add_crashes(report, part("crashes"))
    with step("memory"):
        add_memory(report, host.python("bench.lifecycle.weigh"))
    with step(f"{sizes['agents']} agents at once, idle for {sizes['seconds']} s"):
        number, seconds = str(sizes["agents"]), str(sizes["seconds"])
        many: Many = host.python("bench.lifecycle.many", number, seconds)
    add_many(report, many, sizes["agents"])
    report.publish(quick=quick or bool(many["wrong"]))
    return told(many["wrong"])


def add_starts(report: Report, times: Times) -> None:
    """Add the orders for one container, against the same root without lifecycle."""
    for what, order, bare in (
        ("spawn to READY", "spawn", "bare start"),
        ("start to READY", "start", "bare start"),
        ("stop", "stop", "bare stop"),
    ):
        for share in (0.5, 0.99):
            floor = Floor(NSPAWN, percentile(times[bare], share))
            report.add(f"{what}, p{share * 100:.0f}", percentile(times[order], share), "s", floor)
    report.add("destroy with its data, p50", percentile(times["destroy"], 0.5), "s")


def add_wakes(report: Report, times: Times, bare: list[float]) -> None:
    """Add a message to a sleeping agent, against the start of the same root."""
    floor = Floor(f"{NSPAWN}, p50", percentile(bare, 0.5))
    for what, moment in (("READY", "ready"), ("its harness has the message", "delivered")):
        for share in (0.5, 0.99):
            value = percentile(times[moment], share)
            report.add(f"wake from sleep until {what}, p{share * 100:.0f}", value, "s", floor)


def add_crashes(report: Report, times: Times) -> None:
    """Add a crash to the manager's inbox, against a bare listener of the same crash."""
    for share in (0.5, 0.99):
        floor = Floor(LISTENER, percentile(times["removed"], share) * 1e3)
        queued = percentile(times["queued"], share) * 1e3
        report.add(f"crash to the manager's inbox, p{share * 100:.0f}", queued, "ms", floor)


def add_memory(report: Report, found: dict[str, float]) -> None:
    """Add the memory of services, an endpoint and a container."""
    python = Floor("Python alone", found["python"] / MEGABYTE)
    for name in ("lifecycle", "broker", "approvals", "dashboard", "endpoint"):
        report.add(f"memory: {name}", found[name] / MEGABYTE, "MB", python)
    systemd = Floor("its systemd and journal", found["systemd"] / MEGABYTE)
    report.add("memory: an idle agent, without claude", found["agent"] / MEGABYTE, "MB", systemd)


def add_many(report: Report, many: Many, agents: int) -> None:
    """Add many agents at once: the times, and their use of the processor when idle."""
    floor = Floor(NSPAWN, many["bare"])
    report.add(f"{agents} agents spawned at once: all READY", many["ready"], "s", floor)
    report.add(f"{agents} agents stopped at once", many["stopped"], "s")
    report.add(f"{agents} agents destroyed at once", many["gone"], "s")
    idle = many["idle"]
    for name, words in GROUPS.items():
        report.add(f"{agents} idle agents: wakeups of {words}", idle["wakeups"][name], "/s")
    cpu = sum(idle["cpu"].values()) * 1e3
    report.add(f"{agents} idle agents: CPU of all these", cpu, "ms/s")


if __name__ == "__main__":
    sys.exit(main())
