"""The service on a private bus: its callers, its policy, its README, and its process."""

import asyncio
import signal
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.config import Config, TelemetryConfig
from services.errors import ConfigError
from services.telemetry.__main__ import IdleService, build, headers
from services.telemetry.interface import Telemetry1
from services.telemetry.tests.collector import Collector
from services.telemetry.tests.conftest import LIMIT, span
from wire import names
from wire.bus import Bus
from wire.clients.telemetry import TelemetryClient
from wire.errors import AccessDenied, InvalidArgument
from wire.fixtures import Connect
from wire.principal import DASHBOARD, THE_MANAGER, Principal, agent
from wire.records import decode
from wire.records.telemetry import Span
from wire.testing import FixedPrincipals

ROOM = Path(__file__).parents[1]


def recent(number: int = 1, **more: Any) -> Span:
    now = time.time_ns() // 1000
    return decode(Span, span(number, started=now - 2, ended=now, **more))


@pytest.fixture
async def service(connect: Connect, served: Collector) -> AsyncIterator[Bus]:
    bus = await connect()
    running = await build(bus, Config(telemetry=TelemetryConfig(endpoint=served.url)))
    task = asyncio.create_task(running.run())
    await bus.own(names.TELEMETRY)
    yield bus
    task.cancel()
    await asyncio.wait({task})
    await running.close()


async def client(
    connect: Connect, principals: FixedPrincipals, who: Principal | None
) -> TelemetryClient:
    bus = await connect()
    if who is not None:
        principals.known[bus.unique_name] = who
    return TelemetryClient(bus)


async def test_spans_go_from_their_agent_to_the_collector(
    service: Bus, connect: Connect, principals: FixedPrincipals, served: Collector
) -> None:
    alice = await client(connect, principals, agent("alice"))
    bob = await client(connect, principals, agent("bob"))
    await alice.record_spans([recent(1, model="opus"), recent(2)])
    await bob.record_spans([recent(3)])
    spans = await asyncio.to_thread(served.until, lambda spans: len(spans) == 3)
    owners = {int(span.span, 16): span.resource["service.name"] for span in spans}
    assert owners == {1: "alice", 2: "alice", 3: "bob"}
    assert {s.attributes["gen_ai.agent.name"] for s in spans} == {"alice", "bob"}


async def test_an_error_names_the_span(
    service: Bus, connect: Connect, principals: FixedPrincipals
) -> None:
    alice = await client(connect, principals, agent("alice"))
    with pytest.raises(InvalidArgument, match=r"Span 2 is not valid.*'tool'"):
        await alice.record_spans([recent(1), recent(2, tool="a b")])


@pytest.mark.parametrize("who", [agent("alice"), THE_MANAGER, None, DASHBOARD])
async def test_only_agents_call(
    service: Bus, connect: Connect, principals: FixedPrincipals, who: Principal | None
) -> None:
    calling = await client(connect, principals, who)
    if who is not None and who.is_agent:
        await calling.record_spans([recent()])
        return
    with pytest.raises(AccessDenied):
        await calling.record_spans([recent()])


def test_the_policy_lets_endpoints_call_what_the_service_allows() -> None:
    policy = ET.parse(ROOM / "org.hyperhive.Telemetry1.conf").getroot()
    rules = [rule for p in policy if p.get("group") == "hive-agents" for rule in p]
    assert {rule.get("send_interface") for rule in rules} == {names.TELEMETRY}
    assert {rule.get("send_member") for rule in rules} == set(Telemetry1.methods)


def test_every_method_is_in_the_readme() -> None:
    text = (ROOM / "README.md").read_text()
    assert all(f"`{name}`" in text for name in Telemetry1.methods)


async def test_without_a_collector_it_has_nothing_to_do(connect: Connect) -> None:
    running = await build(await connect(), Config())
    assert isinstance(running, IdleService)


def test_each_file_is_a_header(tmp_path: Path) -> None:
    (tmp_path / "telemetry_authorization").write_text("Bearer s3cret\n")
    (tmp_path / "telemetry_X-Team").write_text("ours")
    (tmp_path / "other").write_text("not ours")
    assert headers(tmp_path) == {"authorization": "Bearer s3cret", "x-team": "ours"}


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", b"x"), ("token", b""), ("token", b"a\nb"), ("token", b"\xff"), ("a:b", b"x")],
)
def test_a_file_that_is_no_header_is_named(tmp_path: Path, name: str, value: bytes) -> None:
    (tmp_path / f"telemetry_{name}").write_bytes(value)
    with pytest.raises(ConfigError, match=f"credentials/telemetry/{name} is not a valid header"):
        headers(tmp_path)


def test_a_header_that_cannot_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "telemetry_token").mkdir()
    with pytest.raises(ConfigError, match="telemetry_token cannot be read: Is a directory"):
        headers(tmp_path)


@pytest.mark.parametrize("configured", [True, False])
async def test_the_process_ends_well(
    bus_address: str, tmp_path: Path, served: Collector, connect: Connect, configured: bool
) -> None:
    file = tmp_path / "hyperhive.toml"
    file.write_text(f'[telemetry]\nendpoint = "{served.url}"\n' if configured else "")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.telemetry",
        env={"DBUS_SYSTEM_BUS_ADDRESS": bus_address, "HYPERHIVE_CONFIG": str(file)},
    )
    try:
        if configured:
            came = asyncio.Event()
            await (await connect()).on_owner(
                names.TELEMETRY, came=lambda _: came.set(), went=lambda _: None
            )
            async with asyncio.timeout(6 * LIMIT):
                await came.wait()
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(6 * LIMIT):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_opentelemetry_is_loaded_in_this_service_alone() -> None:
    loaded = "import sys; print(sorted(m for m in sys.modules if m.startswith('opentelemetry')))"
    modules = "services.telemetry.__main__, services.endpoint.server, services.lifecycle.lifecycle"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import {modules}; {loaded}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"[]\n"
