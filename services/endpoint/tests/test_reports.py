"""What is repeated to a new lifecycle, without a bus."""

import asyncio
from typing import Any

from services.endpoint.delivery.leases import Holder
from services.endpoint.reports import Reports
from wire.errors import Unavailable


class Lifecycle:
    def __init__(self) -> None:
        self.heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.error: Exception | None = None

    async def report(self, report: dict[str, Any]) -> None:
        self.heard.put_nowait(report)
        if self.error:
            raise self.error


async def test_everything_that_was_said_is_repeated() -> None:
    lifecycle, harness = Lifecycle(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(harness, {"turn_state": "thinking", "model": "m"})
    await reports.send(harness, {"turn_state": "idle"})
    assert [lifecycle.heard.get_nowait() for _ in range(2)][1] == {"turn_state": "idle"}
    reports.repeat()
    assert await lifecycle.heard.get() == {"turn_state": "idle", "model": "m"}
    await reports.close()


async def test_what_a_harness_said_ends_with_its_connection() -> None:
    lifecycle, old, new = Lifecycle(), Holder(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(old, {"turn_state": "thinking", "model": "m"})
    reports.forget(old)
    reports.repeat()
    await reports.send(new, {"turn_state": "idle"})
    reports.forget(old)
    reports.repeat()
    await asyncio.sleep(0)
    heard = [lifecycle.heard.get_nowait() for _ in range(lifecycle.heard.qsize())]
    assert heard[1:] == [{"turn_state": "idle"}] * 2
    await reports.close()


async def test_what_cannot_be_repeated_harms_nobody() -> None:
    lifecycle, harness = Lifecycle(), Holder()
    reports = Reports(lifecycle.report)
    await reports.send(harness, {"turn_state": "idle"})
    lifecycle.error = Unavailable("gone again")
    reports.repeat()
    reports.repeat()
    await asyncio.sleep(0)
    await reports.close()
