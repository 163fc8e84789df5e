"""The repetition of reports to a new lifecycle, without a bus."""

import asyncio

from services.endpoint.delivery.held_messages import Holder
from services.endpoint.reports import Reports
from services.endpoint.tests.client import LIMIT
from wire.errors import Unavailable
from wire.records.lifecycle import Report


class Lifecycle:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[Report] = asyncio.Queue()
        self.error: Exception | None = None

    async def next(self) -> Report:
        """Return the next report; wait for it if there is none yet."""
        async with asyncio.timeout(LIMIT):
            return await self.heard.get()

    async def report(self, report: Report) -> None:
        self.heard.put_nowait(report)
        if self.error:
            raise self.error


async def test_everything_that_was_said_is_repeated() -> None:
    lifecycle, harness = Lifecycle(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(harness, Report("thinking", "m"))
    await reports.send(harness, Report("idle"))
    assert [lifecycle.heard.get_nowait() for _ in range(2)][1] == Report("idle")
    reports.repeat()
    assert await lifecycle.next() == Report("idle", "m")
    await reports.close()


async def test_no_and_zero_replace_what_was_said() -> None:
    lifecycle, harness = Lifecycle(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(harness, Report(context_tokens=7, logged_in=True))
    await reports.send(harness, Report(context_tokens=0, logged_in=False))
    reports.repeat()
    repeated = [await lifecycle.next() for _ in range(3)][-1]
    assert repeated == Report(context_tokens=0, logged_in=False)
    await reports.close()


async def test_what_a_harness_said_ends_with_its_connection() -> None:
    lifecycle, old, new = Lifecycle(), Holder(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(old, Report("thinking", "m"))
    reports.forget(old)
    reports.repeat()
    await reports.send(new, Report("idle"))
    reports.forget(old)
    reports.repeat()
    assert [await lifecycle.next() for _ in range(3)][1:] == [Report("idle")] * 2
    assert lifecycle.heard.empty()
    await reports.close()


async def test_what_cannot_be_repeated_harms_nobody() -> None:
    lifecycle, harness = Lifecycle(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(harness, Report("idle"))
    lifecycle.error = Unavailable("gone again")
    reports.repeat()
    reports.repeat()
    assert [await lifecycle.next() for _ in range(2)] == [Report("idle")] * 2
    await reports.close()
