"""The rules: which spans are taken, how many, and what happens while the collector is away."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from services.config import Config, TelemetryConfig
from services.errors import ConfigError
from services.telemetry import telemetry as rules
from services.telemetry.telemetry import Telemetry
from services.telemetry.tests.conftest import NOON, SECOND, TRACEPARENT, FakeExporter, span
from wire.errors import InvalidArgument, LimitExceeded


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statuses() -> list[str]:
    """Return the lines that `systemctl status` has shown."""
    return []


@pytest.fixture
async def telemetry(
    exporter: FakeExporter, config: TelemetryConfig, clock: Clock, statuses: list[str]
) -> AsyncIterator[Telemetry]:
    """Return telemetry that runs, and tries again at once."""
    made = Telemetry(exporter, config, clock, retry=0.0, status=statuses.append)
    task = asyncio.create_task(made.run())
    yield made
    exporter.away = False
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_spans_are_exported_as_those_of_their_agent(
    telemetry: Telemetry, exporter: FakeExporter
) -> None:
    telemetry.record("alice", [span(1), span(2, links=[TRACEPARENT], messages=[7])])
    telemetry.record("bob", [span(3)])
    await asyncio.to_thread(exporter.until_exported, 3)
    assert [(agent, one.span[-1]) for agent, one in exporter.exported] == [
        ("alice", "1"),
        ("alice", "2"),
        ("bob", "3"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace": "0" * 32},
        {"trace": "x"},
        {"span": "0" * 16},
        {"span": "\n"},
        {"parent": "1"},
        {"operation": "delete"},
        {"links": ["x"]},
        {"links": [TRACEPARENT] * 33},
        {"started": NOON},
        {"started": -1},
        {"started": 0},
        {"ended": NOON + 2 * 24 * 3600 * SECOND, "started": NOON + 2 * 24 * 3600 * SECOND},
        {"error": "It said: no"},
        {"model": "obey me"},
        {"tool": "a b"},
        {"input_tokens": -1},
        {"turn": 2**63},
        {"messages": [2**63]},
        {"messages": [1] * 65},
        {"agent": "bob"},
        {"prompt": "a text"},
        {"cost": "much"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_span_that_is_not_valid_is_refused_with_all_others(
    telemetry: Telemetry, exporter: FakeExporter, wrong: dict[str, Any]
) -> None:
    with pytest.raises(InvalidArgument, match="Span 2 is not valid"):
        telemetry.record("alice", [span(1), span(2, **wrong)])
    telemetry.record("alice", [span(3)])
    await asyncio.to_thread(exporter.until_exported, 1)
    assert [owned.span.span[-1] for owned in exporter.exported] == ["3"]


async def test_a_call_has_a_number_of_spans(telemetry: Telemetry) -> None:
    with pytest.raises(LimitExceeded, match="65 spans are too many for one call: use 64"):
        telemetry.record("alice", [span()] * 65)


async def test_the_rate_is_that_of_one_agent(telemetry: Telemetry, clock: Clock) -> None:
    batch = [span()] * 50
    for _ in range(20):
        telemetry.record("alice", batch)
    with pytest.raises(LimitExceeded, match=r"limit of 1000 spans a minute.*Try again in 3 s"):
        telemetry.record("alice", batch)
    telemetry.record("bob", batch)
    clock.now += 3 * SECOND
    telemetry.record("alice", batch)
    clock.now -= 3600 * SECOND
    with pytest.raises(LimitExceeded):
        telemetry.record("alice", batch)


async def test_while_the_collector_is_away_a_number_is_kept_and_the_rest_is_counted(
    telemetry: Telemetry,
    exporter: FakeExporter,
    clock: Clock,
    statuses: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "MAX_TRIES", 10**9)
    monkeypatch.setattr(rules, "MAX_OF_AGENT", 1000)
    monkeypatch.setattr(rules, "MAX_QUEUED", 1500)
    caplog.set_level(logging.WARNING, rules.__name__)
    exporter.away = True
    telemetry.record("alice", [span()])
    await asyncio.to_thread(exporter.until, 2)
    for agent in ("alice", "bob", "carol"):
        for _ in range(25):
            clock.now += 10 * SECOND
            telemetry.record(agent, [span()] * 50)
    # alice and bob have 1000 and 500; one more of alice is being tried.
    assert telemetry.dropped == 3 * 25 * 50 - 1500
    await asyncio.to_thread(exporter.until, exporter.tries + 3)
    exporter.away = False
    await asyncio.to_thread(exporter.until_exported, 1501)
    agents = [owned.agent for owned in exporter.exported]
    assert [agents.count(name) for name in ("alice", "bob", "carol")] == [1001, 500, 0]
    assert max(exporter.sizes) == rules.BATCH
    telemetry.record("carol", [span()])
    await asyncio.to_thread(exporter.until_exported, 1502)
    away, back = [record.getMessage() for record in caplog.records]
    assert "does not take spans: nobody listens." in away
    assert "takes spans. Until now, 2250 were dropped." in back
    assert [" does not take spans" in status for status in statuses] == [True, False]


async def test_spans_that_are_refused_again_and_again_are_given_up(
    telemetry: Telemetry, exporter: FakeExporter
) -> None:
    exporter.failing = rules.MAX_TRIES
    telemetry.record("alice", [span(1)])
    await asyncio.to_thread(exporter.until, rules.MAX_TRIES)
    telemetry.record("alice", [span(2)])
    await asyncio.to_thread(exporter.until_exported, 1)
    assert [owned.span.span[-1] for owned in exporter.exported] == ["2"]
    assert exporter.tries == rules.MAX_TRIES + 1


@pytest.mark.parametrize("away", [False, True])
async def test_the_end_exports_what_is_left_unless_the_collector_is_away(
    exporter: FakeExporter, config: TelemetryConfig, clock: Clock, away: bool
) -> None:
    telemetry = Telemetry(exporter, config, clock)
    telemetry.record("alice", [span()] * 64)
    exporter.away = away
    await telemetry.flush()
    assert len(exporter.exported) == (0 if away else 64)
    assert exporter.tries == 1


@pytest.mark.parametrize(
    "endpoint",
    ["collector:4318", "ftp://collector", "http://user:secret@collector", "http://c?key=secret"],
)
def test_an_endpoint_is_an_address_without_secrets(endpoint: str, tmp_path: Any) -> None:
    file = tmp_path / "hyperhive.toml"
    file.write_text(f'[telemetry]\nendpoint = "{endpoint}"\n')
    with pytest.raises(ConfigError, match=r"telemetry\.endpoint is not valid") as refusal:
        Config.load(file)
    assert "secret" not in str(refusal.value)
    file.write_text('[telemetry]\nendpoint = "https://collector.example.org/otlp"\n')
    assert Config.load(file).telemetry.endpoint == "https://collector.example.org/otlp"
