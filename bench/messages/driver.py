"""Measures one thing, as root in the sandbox: `python -m bench.messages.driver WHAT PAIRS SAMPLES`.

WHAT is `floors`, `hive`, `redis` or `nats`. Prints one JSON object.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypedDict

from bench.messages import floors, mcp, nats, redis
from bench.messages.agents import agent_names, control_group
from bench.messages.measure import Pair, latencies, percentile, rate
from wire import names

DATA: Final = "/var/lib/hyperhive"
"""The file system of the broker's store."""

_BUS: Final = "dbus.service"
_BROKER: Final = "hive-broker.service"
_DASHBOARD: Final = "hive-dashboard.service"


class Floors(TypedDict):
    """The floors: medians in ms, and calls in a second with one and with all pairs."""

    call: float
    commit: float
    calls_one: float
    calls_many: float


class Figures(TypedDict):
    """The figures of one broker: ms, messages in a second, and ms of CPU for a message."""

    p50: float
    p99: float
    one: float
    many: float
    cpu: dict[str, float]
    """By the part of the hive; empty for the other brokers."""
    synced: bool
    """Whether each message was on disk when its sender went on."""


async def measure_floors(folder: Path, pairs: int, samples: int) -> Floors:
    """Measure the floors."""
    async with floors.echo() as bus:
        return {
            "call": percentile(await floors.round_trips(bus, samples), 0.5),
            "calls_one": await floors.calls_a_second(bus, 1, samples),
            "calls_many": await floors.calls_a_second(bus, pairs, 4 * samples),
            "commit": percentile(floors.commits(folder, samples), 0.5),
        }


@asynccontextmanager
async def broker(what: str, folder: Path, number: int) -> AsyncIterator[list[Pair]]:
    """Run `number` pairs on the broker `what`."""
    match what:
        case "hive":
            made = mcp.pairs(agent_names(2 * number))
        case "redis":
            made = redis.pairs(folder, number)
        case _:
            made = nats.pairs(folder, number)
    async with made as pairs:
        yield pairs


async def measure(what: str, folder: Path, pairs: int, samples: int) -> Figures:
    """Measure the wake latency, and the rates with one pair and with `pairs`."""
    async with broker(what, folder, pairs) as made:
        await rate(made, 3)
        took = await latencies(made[0], samples)
        one = await rate(made[:1], samples)
        before = _cpu(what, pairs)
        many = await rate(made, each := max(1, 2 * samples // pairs))
        spent = {name: used - before[name] for name, used in _cpu(what, pairs).items()}
    return {
        "p50": percentile(took, 0.5),
        "p99": percentile(took, 0.99),
        "one": one,
        "many": many,
        "cpu": {name: used / (each * pairs) for name, used in spent.items()},
        "synced": nats.synced(folder) if what == "nats" else True,
    }


def _cpu(what: str, pairs: int) -> dict[str, float]:
    """Return the milliseconds of CPU that the parts of the hive have used so far."""
    if what != "hive":
        return {}
    endpoints = [names.endpoint_unit(agent) for agent in agent_names(2 * pairs)]
    return {
        "endpoints": _used(endpoints),
        "broker": _used([_BROKER]),
        "bus": _used([_BUS]),
        "dashboard": _used([_DASHBOARD]),
    }


def _used(units: Sequence[str]) -> float:
    groups = [group for unit in units if (group := control_group(unit)) is not None]
    stats = [(group / "cpu.stat").read_text() for group in groups]
    return sum(int(stat.split()[1]) for stat in stats) / 1000


async def main(what: str, pairs: int, samples: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as name:
        folder = Path(name)
        if what == "floors":
            print(json.dumps(await measure_floors(folder, pairs, samples)))
        else:
            print(json.dumps(await measure(what, folder, pairs, samples)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
