"""Owed messages reach the broker once, in order, however often the broker is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from services.deliverer import Deliverer
from wire.errors import (
    AccessDenied,
    HiveError,
    Internal,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Stopping,
    Timeout,
    Unavailable,
)


@dataclass(frozen=True)
class Note:
    dedupe_key: str
    recipient: str = "manager"


@dataclass
class Queue:
    notes: list[Note] = field(default_factory=list)
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def owed(self) -> list[Note]:
        return list(self.notes)

    def delivered(self, note: Note) -> None:
        self.notes.remove(note)
        if not self.notes:
            self.empty.set()


@dataclass
class Broker:
    """A broker that refuses messages with `error` when `refuses` says so."""

    error: Exception | None = None
    refuses: Callable[[Note], bool] = lambda note: True
    sent: list[str] = field(default_factory=list)
    introduced: int = 0
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, note: Note) -> None:
        self.tried.set()
        if self.error and self.refuses(note):
            raise self.error
        self.sent.append(note.dedupe_key)

    async def introduce(self) -> None:
        self.tried.set()
        if self.error:
            raise self.error
        self.introduced += 1


def make(queue: Queue, broker: Broker) -> Deliverer[Note]:
    return Deliverer(queue.owed, queue.delivered, broker.send, introduce=broker.introduce)


@asynccontextmanager
async def running(queue: Queue, broker: Broker) -> AsyncIterator[Deliverer[Note]]:
    deliverer = make(queue, broker)
    deliverer.start()
    try:
        yield deliverer
    finally:
        await deliverer.stop()


async def emptied(queue: Queue) -> None:
    async with asyncio.timeout(5):
        await queue.empty.wait()


async def test_the_oldest_is_first_and_each_goes_once() -> None:
    queue, broker = Queue([Note("a"), Note("b")]), Broker()
    assert await make(queue, broker).deliver() is None
    assert (broker.sent, queue.notes) == (["a", "b"], [])


async def test_what_an_earlier_run_left_is_delivered_at_the_start() -> None:
    queue, broker = Queue([Note("a")]), Broker()
    async with running(queue, broker) as deliverer:
        await emptied(queue)
        queue.empty.clear()
        queue.notes.append(Note("b"))
        deliverer.wake()
        await emptied(queue)
    assert broker.sent == ["a", "b"]


@pytest.mark.parametrize(
    "error",
    [Unavailable("away"), Timeout("slow"), Stopping("ends"), Internal("a bug"), ValueError("ours")],
)
async def test_what_the_broker_cannot_take_waits_until_it_is_back(error: Exception) -> None:
    queue, broker = Queue([Note("a"), Note("b")]), Broker(error)
    async with running(queue, broker) as deliverer:
        async with asyncio.timeout(5):
            await broker.tried.wait()
        assert [note.dedupe_key for note in queue.notes] == ["a", "b"]
        broker.error = None
        deliverer.broker_appeared()
        await emptied(queue)
    assert broker.sent == ["a", "b"]


async def test_a_message_leaves_the_queue_only_after_the_answer() -> None:
    """A kill in between sends it again; the dedupe key makes that harmless."""
    queue, broker = Queue([Note("a")]), Broker()
    reached, gate = asyncio.Event(), asyncio.Event()

    async def send(note: Note) -> None:
        reached.set()
        await gate.wait()

    first = Deliverer(queue.owed, queue.delivered, send)
    first.start()
    await reached.wait()
    await first.stop()
    assert queue.notes == [Note("a")]
    await make(queue, broker).deliver()
    assert broker.sent == ["a"]


async def test_an_hourly_limit_is_tried_again_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.deliverer.LIMIT_RETRY", 0.01)
    queue, broker = Queue([Note("a")]), Broker()

    async def refuse_once(note: Note) -> None:
        first = not broker.tried.is_set()
        broker.tried.set()
        if first:
            raise LimitExceeded("Try again in 1 s.")
        broker.sent.append(note.dedupe_key)

    owner = Deliverer(queue.owed, queue.delivered, refuse_once)
    owner.start()
    await emptied(queue)
    await owner.stop()
    assert broker.sent == ["a"]


async def test_one_who_is_unknown_keeps_nobody_else_waiting() -> None:
    queue = Queue([Note("a"), Note("b", "bob"), Note("c"), Note("d", "bob")])
    broker = Broker(NotFound("There is no manager."), lambda note: note.recipient == "manager")
    deliverer = Deliverer(queue.owed, queue.delivered, broker.send)
    assert await deliverer.deliver() is None
    assert (broker.sent, [n.dedupe_key for n in queue.notes]) == (["b", "d"], ["a", "c"])
    broker.error = None
    await deliverer.deliver()
    assert broker.sent == ["b", "d", "a", "c"]


async def test_without_a_recipient_nothing_is_owed_if_so_asked() -> None:
    queue, broker = Queue([Note("a"), Note("b")]), Broker(NotFound("There is no manager."))
    owner = Deliverer(queue.owed, queue.delivered, broker.send, drop_unknown=True)
    await owner.deliver()
    assert (broker.sent, queue.notes) == ([], [])


@pytest.mark.parametrize("error", [InvalidArgument("too long"), AccessDenied("not you")])
async def test_one_that_is_refused_for_good_does_not_block_the_others(
    error: HiveError, caplog: pytest.LogCaptureFixture
) -> None:
    queue, broker = Queue([Note("a"), Note("b")]), Broker(error, lambda n: n.dedupe_key == "a")
    await Deliverer(queue.owed, queue.delivered, broker.send).deliver()
    assert (broker.sent, queue.notes) == (["b"], [])
    assert f"The broker refused the message a: {error}" in caplog.text


async def test_each_new_broker_is_introduced_to_everybody_first() -> None:
    queue, broker = Queue(), Broker()
    deliverer = make(queue, broker)
    await deliverer.deliver()
    await deliverer.deliver()
    assert broker.introduced == 1
    deliverer.broker_appeared()
    broker.error = Unavailable("away")
    await deliverer.deliver()
    broker.error = None
    await deliverer.deliver()
    assert broker.introduced == 2


async def test_a_broker_that_appears_during_the_introduction_is_not_missed() -> None:
    queue, times = Queue(), []

    async def introduce() -> None:
        times.append(1)
        if len(times) == 1:
            deliverer.broker_appeared()

    deliverer = Deliverer(queue.owed, queue.delivered, Broker().send, introduce=introduce)
    await deliverer.deliver()
    await deliverer.deliver()
    assert len(times) == 2
