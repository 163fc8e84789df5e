"""Fixtures: spans, an exporter that a test controls, and a collector."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from services.config import TelemetryConfig
from services.telemetry.telemetry import ExportError, Owned
from services.telemetry.tests.collector import Collector, collector

NOON = 1_764_417_600_000_000  # 2025-11-29 12:00 UTC
SECOND = 1_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
LIMIT = 10.0


def span(number: int = 1, **more: Any) -> dict[str, Any]:
    """Return a span as RecordSpans takes it."""
    base = {"trace": TRACE, "span": f"{number:016x}", "operation": "chat"}
    return {**base, "started": NOON - 2 * SECOND, "ended": NOON - SECOND, **more}


class FakeExporter:
    """An exporter that fails while `away` is set, and for the first `failing` tries."""

    def __init__(self) -> None:
        self.exported: list[Owned] = []
        self.sizes: list[int] = []
        self.away = False
        self.failing = 0
        self.tries = 0
        self.came = threading.Condition()

    def export(self, spans: Sequence[Owned]) -> None:
        with self.came:
            self.tries += 1
            self.came.notify_all()
            if self.away or self.tries <= self.failing:
                raise ExportError("nobody listens")
            self.exported += spans
            self.sizes.append(len(spans))

    def until(self, tries: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.tries >= tries, LIMIT)

    def until_exported(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.exported) >= count, LIMIT)


@pytest.fixture
def exporter() -> FakeExporter:
    return FakeExporter()


@pytest.fixture
def served() -> Iterator[Collector]:
    with collector() as serving:
        yield serving


@pytest.fixture
def config() -> TelemetryConfig:
    return TelemetryConfig(endpoint="http://collector.example:4318", agent_spans_per_minute=1000)
