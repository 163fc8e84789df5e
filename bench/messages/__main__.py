"""Messages from socket to socket: the latency of one, and the rate of many.

`python -m bench.messages [--quick]`; README.md describes the figures.
"""

import argparse
import sys
from typing import Final

from bench.hive import Host, running
from bench.messages.driver import Figures, Floors
from bench.report import Floor, Report
from sandbox.hive import step
from sandbox.instance import SandboxError

PAIRS: Final = 32
SAMPLES: Final = 2000
DRIVER: Final = "bench.messages.driver"
UNBOUNDED: Final = 10**9
LIMITS: Final = {
    "agent_messages_per_hour": UNBOUNDED,
    "agent_bytes_per_hour": UNBOUNDED * 200,
    "loop_messages": 100_000,
    "loop_repeats": 100_000,
}
"""Raised limits of the broker: the bench sends more than an agent may, and the same again and
again."""


def main() -> int:
    """Measure and publish; return 1, with a sentence, when the host did not start."""
    parser = argparse.ArgumentParser(prog="bench.messages", description="Measure messages.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    pairs, samples = (2, 20) if quick else (PAIRS, SAMPLES)
    try:
        with running(broker=LIMITS) as host:
            report = measured(host, pairs, samples)
    except SandboxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    report.publish(quick=quick)
    return 0


def measured(host: Host, pairs: int, samples: int) -> Report:
    """Return the figures of all brokers."""
    with step(f"{2 * pairs} agents get sockets and inboxes"):
        host.python("bench.messages.agents", "register", str(2 * pairs))

    def part(what: str, title: str) -> Figures:
        with step(title):
            figures: Figures = host.python(DRIVER, what, str(pairs), str(samples))
        return figures

    with step("floors: bare calls and commits"):
        floors: Floors = host.python(DRIVER, "floors", str(pairs), str(samples))
    report = Report("messages", {"pairs": pairs, "samples": samples})
    add_hive(report, floors, part("hive", "the hive"), pairs)
    nats = part("nats", "NATS JetStream")
    label = "NATS JetStream" if nats["synced"] else "NATS JetStream, not synced"
    add(report, floors, nats, pairs, label)
    add(report, floors, part("redis", "Redis Streams"), pairs, "Redis Streams, synced always")
    return report


def add_hive(report: Report, floors: Floors, figures: Figures, pairs: int) -> None:
    """Add the hive's figures, and the CPU of its parts."""
    add(report, floors, figures, pairs, "hive")
    for name, used in figures["cpu"].items():
        report.add(f"hive: CPU a message, {name}", used, "ms")


def add(report: Report, floors: Floors, figures: Figures, pairs: int, who: str) -> None:
    """Add the figures of one broker, against the floors of this run."""
    least = Floor("one bare call and one commit", floors["call"] + floors["commit"])
    report.add(f"{who}: wake latency, p50", figures["p50"], "ms", least)
    report.add(f"{who}: wake latency, p99", figures["p99"], "ms", least)
    one = Floor("bare calls, one in flight", floors["calls_one"])
    report.add(f"{who}: one pair", figures["one"], "messages/s", one)
    many = Floor(f"bare calls, {pairs} in flight", floors["calls_many"])
    report.add(f"{who}: {pairs} pairs", figures["many"], "messages/s", many)


if __name__ == "__main__":
    sys.exit(main())
