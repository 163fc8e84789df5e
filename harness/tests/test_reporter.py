"""The reports to a fake hive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest_asyncio

from harness.events.store import EventStore
from harness.hive_client import HiveClient
from harness.notify import Notifier
from harness.tests.hive import Hive
from harness.turns.reporter import Reporter
from harness.turns.state import State


class Silent(Notifier):
    """A notifier without a systemd, and without a socket."""

    def __init__(self) -> None:
        pass

    def status(self, sentence: str) -> None:
        pass


@pytest_asyncio.fixture
async def reporter(hive: Hive, tmp_path: Path) -> AsyncIterator[Reporter]:
    client = HiveClient(hive.path)
    store = EventStore(tmp_path)
    reporter = Reporter(client, store, Silent())
    tasks = [asyncio.create_task(client.run()), asyncio.create_task(reporter.run())]
    yield reporter
    for task in reversed(tasks):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    store.close()


def limits(hive: Hive) -> list[Any]:
    """Return the ends of limits that were reported."""
    reports = [arguments for _, tool, arguments in hive.calls if tool == "report"]
    return [one["provider_limit_until"] for one in reports if "provider_limit_until" in one]


async def test_the_same_limit_is_reported_each_time_and_not_repeated(
    reporter: Reporter, hive: Hive
) -> None:
    for count in (1, 2):  # the operator may have lifted it in between
        reporter.provider_limit(2_000_000_000)
        await hive.until(lambda n=count: limits(hive) == [2_000_000_000] * n)  # type: ignore[misc]
    before = hive.called("report")
    await hive.stop()
    await hive.start()
    await hive.until(lambda: hive.called("report") > before)
    reporter.enter(State.THINKING)
    await hive.until(lambda: hive.state == "thinking")
    assert limits(hive) == [2_000_000_000] * 2


async def test_a_limit_that_no_connection_took_is_reported_on_the_next(
    reporter: Reporter, hive: Hive
) -> None:
    await hive.until(lambda: hive.called("report") > 0)
    await hive.stop()
    reporter.provider_limit(2_000_000_000)
    await hive.start()
    await hive.until(lambda: limits(hive) == [2_000_000_000])
