"""The way of a span through all parts: Claude Code, harness, endpoint, service, collector."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from harness.tests.conftest import API, SCENARIO, SCENARIOS, Harness
from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application
from services.config import TelemetryConfig
from services.endpoint.tests.stage import Hive, stage
from services.telemetry.exporter import OtlpExporter
from services.telemetry.interface import Telemetry1
from services.telemetry.telemetry import Telemetry
from services.telemetry.tests.collector import Collector, collector
from wire.fixtures import Connect
from wire.principal import agent
from wire.testing import FixedPrincipals

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def served() -> Iterator[Collector]:
    with collector() as serving:
        yield serving


@pytest.fixture
async def hive(
    connect: Connect, principals: FixedPrincipals, tmp_path: Path, served: Collector
) -> AsyncIterator[Hive]:
    """Run the endpoint of alice with the real telemetry, and fakes of the other services."""
    exporter = OtlpExporter(served.url, {})
    telemetry = Telemetry(exporter, TelemetryConfig(endpoint=served.url))
    task = asyncio.create_task(telemetry.run())
    server, bus = await connect(), await connect()
    principals.known[bus.unique_name] = agent("alice")
    async with stage(server, bus, tmp_path, "alice", Telemetry1(telemetry)) as hive:
        yield hive
    task.cancel()
    await asyncio.wait({task})
    exporter.close()


@pytest.fixture
async def harness(tmp_path: Path, hive: Hive) -> AsyncIterator[Harness]:
    """Return alice's harness with the scripted model; it is not started yet."""
    runner = web.AppRunner(
        application(Script(scenario.load(SCENARIO, SCENARIOS))),
        shutdown_timeout=0.1,
        handler_cancellation=True,
    )
    await runner.setup()
    await web.UnixSite(runner, tmp_path / API).start()
    harness = Harness(tmp_path, SimpleNamespace(path=hive.path), "")  # type: ignore[arg-type]
    yield harness
    await harness.close()
    await runner.cleanup()
    print(harness.log())


async def test_a_turn_arrives_at_the_collector_in_the_trace_of_its_message(
    hive: Hive, harness: Harness, served: Collector
) -> None:
    await hive.broker.queue(7, "plan dinner", traceparent=f"00-{TRACE}-{PARENT}-01")
    await harness.start(name="alice", telemetry=True)

    def is_over() -> bool:
        return any(span.name == "invoke_agent alice" for span in served.spans)

    await asyncio.to_thread(served.until, lambda spans: is_over())
    spans = sorted(served.spans, key=lambda span: span.started)
    [turn] = [span for span in spans if span.name == "invoke_agent alice"]
    below = [span for span in spans if span is not turn]
    assert (turn.trace, turn.parent, turn.failed) == (TRACE, PARENT, False)
    assert {(span.trace, span.parent) for span in below} == {(TRACE, turn.span)}
    names = [span.name.partition(" ") for span in below]
    assert [name for name, _, _ in names] == ["chat", "execute_tool"] * 2 + ["chat"]
    assert [of for name, _, of in names if name == "execute_tool"] == [
        "mcp__hyperhive__todo",
        "mcp__hive__send",
    ]
    assert {span.resource["service.name"] for span in spans} == {"alice"}
    assert turn.attributes["hyperhive.messages"] == [7]
    # The messages that alice sends in the turn go on with its trace.
    [(recipient, _, options)] = hive.broker.sent
    assert recipient == "operator"
    assert options["traceparent"] == f"00-{TRACE}-{turn.span}-01"
