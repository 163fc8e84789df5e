"""The cost of an endpoint: until it listens, when idle, and after a conversation.

`python -m bench.endpoint [--quick]`; README.md describes the floors.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from time import perf_counter

from bench.endpoint.floors import Sample, programs, sample
from bench.report import Floor, Report
from services.endpoint.tests.client import Client
from services.endpoint.tests.fakes import FakeBroker
from services.endpoint.tests.process import MIB, EndpointProcess, endpoint, services
from wire.testing import private_bus

STARTS = 15
MESSAGES = 50
MEGABYTE = 1_000_000
ENDPOINT = "endpoint"

Samples = dict[str, list[Sample]]

_FIELDS = (
    ("CPU of a start", "cpu", 1e-3, "ms"),
    ("time of a start", "wall", 1e-3, "ms"),
    ("memory after it", "resident", MEGABYTE, "MB"),
    ("memory after it, its share of what is shared", "proportional", MEGABYTE, "MB"),
)
"""The figures of a start: description, field of Sample, unit."""


def main() -> int:
    """Measure and publish."""
    parser = argparse.ArgumentParser(prog="bench.endpoint", description="Measure the endpoint.")
    parser.add_argument("--quick", action="store_true", help="a smoke run; nothing is kept")
    quick = parser.parse_args().quick
    starts, messages = (2, 2) if quick else (STARTS, MESSAGES)
    with tempfile.TemporaryDirectory(prefix="hive-endpoint-") as folder:
        report = asyncio.run(measured(Path(folder), starts, messages))
    report.publish(quick=quick)
    return 0


async def measured(folder: Path, starts: int, messages: int) -> Report:
    """Return all figures; the starts of the endpoint and of its floors take turns."""
    environment = {
        # As installed: the modules are compiled, and under systemd there is a journal.
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
        "JOURNAL_STREAM": "0:0",
    }
    report = Report("endpoint", {"starts": starts, "messages_of_1_MiB": messages})
    async with private_bus() as address, services(address) as broker:
        environment["DBUS_SYSTEM_BUS_ADDRESS"] = address
        samples: Samples = defaultdict(list)
        for turn in range(starts + 1):
            for name, program in programs().items():
                samples[name].append(await sample(program, environment))
            samples[ENDPOINT].append(await _start(address, folder, environment))
            if turn == 0:
                samples.clear()  # this one compiled
        _add_starts(report, samples)
        async with endpoint(address, folder, "manager", environment) as process:
            await _converse(process, broker, messages)
            imported = Floor("imports", _typical(samples, "imports", "resident") / MEGABYTE)
            report.add(
                "endpoint: memory after a conversation",
                process.resident() / MEGABYTE,
                "MB",
                imported,
            )
            report.add(
                "endpoint: most memory in a conversation", process.peak() / MEGABYTE, "MB", imported
            )
    return report


async def _start(address: str, folder: Path, environment: dict[str, str]) -> Sample:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        began = perf_counter()
        async with endpoint(address, Path(own), "manager", environment) as process:
            return Sample(
                perf_counter() - began, process.cpu(), process.resident(), process.proportional()
            )


def _add_starts(report: Report, samples: Samples) -> None:
    for floor in ("imports", "imports, a bus connection, a socket"):
        for what, field, scale, unit in _FIELDS:
            below = Floor(floor, _typical(samples, floor, field) / scale)
            report.add(f"endpoint: {what}", _typical(samples, ENDPOINT, field) / scale, unit, below)
    for other in ("Python alone", "import mcp.server"):
        for what, field, scale, unit in _FIELDS[::2]:
            below = Floor("imports", _typical(samples, "imports", field) / scale)
            report.add(f"{other}: {what}", _typical(samples, other, field) / scale, unit, below)


def _typical(samples: Samples, name: str, field: str) -> float:
    """Return the median of all starts."""
    values: list[float] = [getattr(one, field) for one in samples[name]]
    return median(values)


async def _converse(process: EndpointProcess, broker: FakeBroker, messages: int) -> None:
    """Hold a conversation: list the tools of a model and the harness; pass bodies of 1 MiB."""
    body = "x" * MIB
    model, harness = (
        await _client(process, "claude-code"),
        await _client(process, "hyperhive-harness"),
    )
    for number in range(1, messages + 1):
        await broker.queue(number, body)
        ids = await harness.recv(max=8)
        await harness.call("ack", ids=ids)
        await model.call("send", to="bob", body=body)
    assert len(broker.acknowledged) == len(broker.sent) == messages
    for client in (model, harness):
        client.writer.close()


async def _client(process: EndpointProcess, name: str) -> Client:
    streams = await asyncio.open_unix_connection(process.path, limit=64 * MIB)
    client = await Client(*streams).initialize(name)
    await client.ask("tools/list")
    return client


if __name__ == "__main__":
    sys.exit(main())
