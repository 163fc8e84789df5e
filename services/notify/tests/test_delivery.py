"""The queue of one webhook: order, back-off, and an end to every try."""

import asyncio
import itertools
import logging

import pytest

from services.notify.delivery import LONGEST_WAIT, Delivery
from services.notify.news import News
from services.notify.outbox import Outbox
from services.notify.tests.conftest import PATIENCE, asks
from services.notify.webhook import Outcome, Verdict

TAKEN = Outcome(Verdict.TAKEN)
LATER = Outcome(Verdict.LATER, "it answered 500")
REFUSED = Outcome(Verdict.REFUSED, "it answered 400")


class Bench:
    """A delivery whose webhook answers by list, and whose time passes when it sleeps."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.outbox._now = lambda: int(self.now * 1e6)
        self.now = 1000.0
        self.outcomes: list[Outcome] = []
        self.posted: list[int] = []
        self.slept: list[float] = []
        self.done = asyncio.Event()
        self.delivery = Delivery(
            "phone", self, outbox, give_up_after=3600.0, now=lambda: self.now, sleep=self.sleep
        )

    async def post(self, news: News) -> Outcome:
        self.posted.append(news.number)
        outcome = self.outcomes.pop(0)
        if not self.outcomes:
            self.done.set()
        return outcome

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def put(self, *numbers: int) -> None:
        self.outbox.note("q", numbers, [("phone", asks(number)) for number in numbers], whole=False)
        self.delivery.wake()

    async def until_asked(self, *outcomes: Outcome) -> None:
        """Answer with these, and let what follows the last one happen."""
        self.outcomes = list(outcomes)
        self.done.clear()
        task = asyncio.create_task(self.delivery.run())
        async with asyncio.timeout(PATIENCE):
            await self.done.wait()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def bench(outbox: Outbox) -> Bench:
    return Bench(outbox)


async def test_in_order_and_only_when_taken(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(TAKEN, LATER, LATER, TAKEN)
    assert bench.posted == [1, 2, 2, 2]
    assert bench.outbox.first("phone") is None


async def test_it_waits_longer_each_time_and_at_once_again_after_a_success(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(*[LATER] * 12, TAKEN, LATER, TAKEN)
    first, second = bench.slept[:12], bench.slept[12:]
    assert 0.8 <= first[0] <= 1.0
    assert all(later > before for before, later in itertools.pairwise(first[:8]))
    assert 0.8 * LONGEST_WAIT <= first[-1] <= LONGEST_WAIT
    assert len(second) == 1
    assert second[0] <= 1.0


async def test_as_long_as_it_was_told_to(bench: Bench) -> None:
    bench.put(1)
    await bench.until_asked(Outcome(Verdict.LATER, "it answered 429", 120.0), TAKEN)
    assert bench.slept == [120.0]


async def test_after_all_its_time_a_post_is_given_up(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put(1)
    bench.now += 3000
    bench.put(2)
    with caplog.at_level(logging.INFO):
        await bench.until_asked(*[Outcome(Verdict.LATER, "it answered 500", 590.0)] * 3, TAKEN)
    assert bench.posted == [1, 1, 1, 2]
    assert sum(bench.slept) == 600.0  # until its very end, and no longer
    assert "phone never got question-1: it answered 500" in caplog.text
    assert caplog.text.count("gets nothing now") == 1
    assert "takes posts again" in caplog.text


async def test_what_nobody_wants_holds_up_nobody(bench: Bench) -> None:
    bench.put(1, 2)
    await bench.until_asked(REFUSED, TAKEN)
    assert (bench.posted, bench.slept) == ([1, 2], [])


async def test_it_sleeps_until_there_is_something(bench: Bench) -> None:
    task = asyncio.create_task(bench.delivery.run())
    await asyncio.sleep(0)
    bench.outcomes = [TAKEN]
    bench.put(5)
    async with asyncio.timeout(PATIENCE):
        await bench.done.wait()
    task.cancel()
    await asyncio.wait([task])
    assert bench.posted == [5]


async def test_cancelled_while_it_posts_it_posts_again(outbox: Outbox) -> None:
    under_way = asyncio.Event()

    class Slow:
        async def post(self, news: News) -> Outcome:
            under_way.set()
            await asyncio.get_running_loop().create_future()
            return TAKEN

    outbox.note("q", [1], [("phone", asks(1))], whole=False)
    delivery = Delivery("phone", Slow(), outbox, give_up_after=60.0)
    task = asyncio.create_task(delivery.run())
    async with asyncio.timeout(PATIENCE):
        await under_way.wait()
    task.cancel()
    await asyncio.wait([task])
    assert outbox.count("phone") == 1
