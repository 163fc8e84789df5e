"""The delivery to one webhook: order, back-off, and the end of every retry."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.notify.notification import Notification
from services.notify.store import Store
from services.notify.tests.conftest import TIME_LIMIT, asks
from services.notify.webhook_client import Attempt, Outcome
from services.notify.webhook_delivery import LONGEST_WAIT, WebhookDelivery

TAKEN = Attempt(Outcome.DELIVERED)
LATER = Attempt(Outcome.RETRY, "it answered 500")
REFUSED = Attempt(Outcome.REJECTED, "it answered 400")


class Bench:
    """A delivery whose webhook answers by list, and whose time passes when it sleeps."""

    def __init__(self, path: Path) -> None:
        self.store = Store(path, lambda: int(self.now * 1e6))
        self.now = 1000.0
        self.attempts: list[Attempt] = []
        self.posted: list[int] = []
        self.slept: list[float] = []
        self.done = asyncio.Event()
        self.delivery = WebhookDelivery(
            "phone", self, self.store, give_up_after=3600.0, now=lambda: self.now, sleep=self.sleep
        )

    async def post(self, notification: Notification) -> Attempt:
        self.posted.append(notification.number)
        attempt = self.attempts.pop(0)
        if not self.attempts:
            self.done.set()
        return attempt

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def put(self, *numbers: int) -> None:
        self.store.record(
            "q", numbers, [("phone", asks(number)) for number in numbers], complete=False
        )
        self.delivery.wake()

    async def until_asked(self, *attempts: Attempt) -> None:
        """Answer with these, and let the delivery react to the last one."""
        self.attempts = list(attempts)
        self.done.clear()
        task = asyncio.create_task(self.delivery.run())
        async with asyncio.timeout(TIME_LIMIT):
            await self.done.wait()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "notify.sqlite")
    yield bench
    bench.store.close()


async def test_posts_are_delivered_in_order(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(TAKEN, LATER, LATER, TAKEN)
    assert bench.posted == [1, 2, 2, 2]
    assert bench.store.first("phone") is None


async def test_the_wait_doubles_and_a_success_resets_it(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(*[LATER] * 12, TAKEN, LATER, TAKEN)
    first, second = bench.slept[:12], bench.slept[12:]
    assert 0.8 <= first[0] <= 1.0
    assert all(later > before for before, later in itertools.pairwise(first[:8]))
    assert 0.8 * LONGEST_WAIT <= first[-1] <= LONGEST_WAIT
    assert len(second) == 1
    assert second[0] <= 1.0


async def test_it_waits_as_long_as_the_webhook_asks(bench: Bench) -> None:
    bench.put(1)
    await bench.until_asked(Attempt(Outcome.RETRY, "it answered 429", 120.0), TAKEN)
    assert bench.slept == [120.0]


async def test_a_post_is_given_up_after_its_time(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(1)
    bench.now += 3000
    bench.put(2)
    with caplog.at_level(logging.INFO):
        await bench.until_asked(*[Attempt(Outcome.RETRY, "it answered 500", 590.0)] * 3, TAKEN)
    assert bench.posted == [1, 1, 1, 2]
    assert sum(bench.slept) == 600.0  # until the end of its time, and no longer
    assert "cannot send question-1 to phone: it answered 500" in caplog.text
    assert caplog.text.count("does not accept posts") == 1
    assert "accepts posts again" in caplog.text


async def test_a_rejected_post_does_not_delay_the_next(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(REFUSED, TAKEN)
    assert (bench.posted, bench.slept) == ([1, 2], [])


async def test_it_waits_until_a_post_is_pending(bench: Bench) -> None:
    task = asyncio.create_task(bench.delivery.run())
    await asyncio.sleep(0)
    bench.attempts = [TAKEN]
    bench.put(5)
    async with asyncio.timeout(TIME_LIMIT):
        await bench.done.wait()
    task.cancel()
    await asyncio.wait([task])
    assert bench.posted == [5]


async def test_a_post_that_was_cancelled_stays_pending(store: Store) -> None:
    under_way = asyncio.Event()

    class Slow:
        async def post(self, notification: Notification) -> Attempt:
            under_way.set()
            await asyncio.get_running_loop().create_future()
            return TAKEN

    store.record("q", [1], [("phone", asks(1))], complete=False)
    delivery = WebhookDelivery("phone", Slow(), store, give_up_after=60.0)
    task = asyncio.create_task(delivery.run())
    async with asyncio.timeout(TIME_LIMIT):
        await under_way.wait()
    task.cancel()
    await asyncio.wait([task])
    assert store.count("phone") == 1
