import asyncio
import contextlib
from typing import Any

import pytest

from services.endpoint.delivery.held_messages import TRANSITIONS, HeldMessages, Holder, State
from services.endpoint.delivery.inbox import Inbox
from wire.errors import NotFound, Unavailable
from wire.records.broker import Message, MessageState

LIMIT = 30.0


class FakeBroker:
    """Answers Receive when told to, and records everything."""

    def __init__(self) -> None:
        self.receives: list[tuple[int, float]] = []
        self.answers: asyncio.Queue[list[Message] | Exception] = asyncio.Queue()
        self.urgent: asyncio.Queue[list[Message] | Exception] = asyncio.Queue()
        self.acknowledged: list[int] = []
        self.cancelled: list[int] = []
        self.released: list[int] = []
        self.uncounted: list[int] = []
        self.refuse: Exception | None = None
        self.changed = asyncio.Condition()

    async def receive(self, maximum: int, seconds: float, *, urgent: bool) -> list[Message]:
        async with self.changed:
            self.receives.append((maximum, seconds))
            self.changed.notify_all()
        try:
            async with asyncio.timeout(seconds or LIMIT):
                answer = await (self.urgent if urgent else self.answers).get()
        except TimeoutError:
            return []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def acknowledge(self, ids: list[int], *, cancelled: bool) -> None:
        if self.refuse:
            raise self.refuse
        (self.cancelled if cancelled else self.acknowledged).extend(ids)

    async def release(self, ids: list[int], *, reason: str, uncounted: bool) -> None:
        async with self.changed:
            self.released += ids
            self.uncounted += ids if uncounted else []
            self.changed.notify_all()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT), self.changed:
            await self.changed.wait_for(condition)


def messages(*ids: int, body: str = "x") -> list[Message]:
    return [
        Message(id, "bob", "alice", "message", body, 1, 0, False, 0, MessageState.LEASED)
        for id in ids
    ]


@pytest.fixture
async def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
async def inbox(broker: FakeBroker) -> Any:
    inbox = Inbox(broker)
    yield inbox
    await inbox.close()


def ids(answer: list[Message]) -> list[int]:
    return [message.id for message in answer]


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_message_ends_the_wait(inbox: Inbox, broker: FakeBroker) -> None:
    holder = Holder()
    broker.answers.put_nowait(messages(1))
    assert ids(await inbox.receive(holder, 8, 60)) == [1]
    assert inbox.leases.held(holder) == [1]
    assert inbox.leases.delivered(holder) == []


async def test_all_who_wait_share_one_receive_and_are_served_in_turn(
    inbox: Inbox, broker: FakeBroker
) -> None:
    first = asyncio.create_task(inbox.receive(Holder(), 1, 60))
    second = asyncio.create_task(inbox.receive(Holder(), 1, 60))
    await broker.until(lambda: len(broker.receives) == 1)
    broker.answers.put_nowait(messages(1))
    assert ids(await first) == [1]
    await broker.until(lambda: len(broker.receives) == 2)
    broker.answers.put_nowait(messages(2))
    assert ids(await second) == [2]


async def test_urgent_messages_have_a_receive_of_their_own(
    inbox: Inbox, broker: FakeBroker
) -> None:
    holder = Holder()
    ordinary = asyncio.create_task(inbox.receive(holder, 1, 60))
    urgent = asyncio.create_task(inbox.receive(holder, 1, 60, urgent=True))
    await broker.until(lambda: len(broker.receives) == 2)
    broker.urgent.put_nowait(messages(2))
    assert ids(await urgent) == [2]
    assert not ordinary.done()
    broker.answers.put_nowait(messages(1))
    assert ids(await ordinary) == [1]


async def test_a_cancelled_turn_ends_the_messages_of_all(inbox: Inbox, broker: FakeBroker) -> None:
    harness, model = Holder(), Holder()
    broker.answers.put_nowait(messages(1))
    await inbox.receive(harness, 1, 60)
    broker.answers.put_nowait(messages(2))
    await inbox.receive(model, 1, 60)
    inbox.leases.deliver([1, 2])
    await inbox.acknowledge(harness, [1], cancelled=True)
    assert broker.cancelled == [1, 2]
    assert broker.acknowledged == []


async def test_a_cancelled_wait_is_taken_over_by_the_next(inbox: Inbox, broker: FakeBroker) -> None:
    first = asyncio.create_task(inbox.receive(Holder(), 8, 60))
    await broker.until(lambda: broker.receives)
    await cancelled(first)
    second = asyncio.create_task(inbox.receive(Holder(), 8, 60))
    await asyncio.sleep(0)
    broker.answers.put_nowait(messages(1))
    assert ids(await second) == [1]
    assert len(broker.receives) == 1
    assert broker.released == []


async def test_what_arrives_when_nobody_waits_any_more_is_released(
    inbox: Inbox, broker: FakeBroker
) -> None:
    waiting = asyncio.create_task(inbox.receive(Holder(), 8, 60))
    await broker.until(lambda: broker.receives)
    await cancelled(waiting)
    broker.answers.put_nowait(messages(1, 2))
    await broker.until(lambda: broker.released == [1, 2])
    assert broker.uncounted == [1, 2], "no client has seen them"


async def test_what_arrives_in_the_tick_of_the_cancellation_is_released(
    inbox: Inbox, broker: FakeBroker
) -> None:
    for seconds in (0, 60):
        broker.receives.clear()
        broker.released.clear()
        waiting = asyncio.create_task(inbox.receive(Holder(), 8, seconds))
        await broker.until(lambda: broker.receives)
        broker.answers.put_nowait(messages(1))
        for _ in range(2):
            await asyncio.sleep(0)
        await cancelled(waiting)
        await broker.until(lambda: broker.released == [1])


async def test_nothing_comes_and_the_wait_ends(inbox: Inbox, broker: FakeBroker) -> None:
    assert await inbox.receive(Holder(), 8, 0.001) == []
    broker.answers.put_nowait([])
    assert await inbox.receive(Holder(), 8, 0) == []
    assert broker.receives[-1] == (2, 0)


async def test_a_short_wait_beside_a_long_one_ends_in_time(
    inbox: Inbox, broker: FakeBroker
) -> None:
    long = asyncio.create_task(inbox.receive(Holder(), 8, 60))
    await broker.until(lambda: broker.receives)
    async with asyncio.timeout(LIMIT):
        assert await inbox.receive(Holder(), 8, 0.01) == []
    broker.answers.put_nowait(messages(1))
    assert ids(await long) == [1]
    assert broker.released == []


async def test_a_full_answer_is_followed_by_what_is_left(inbox: Inbox, broker: FakeBroker) -> None:
    for answer in (messages(1, 2), messages(3, 4), messages(5)):
        broker.answers.put_nowait(answer)
    assert ids(await inbox.receive(Holder(), 32, 60)) == [1, 2, 3, 4, 5]


async def test_large_messages_come_a_few_at_a_time(inbox: Inbox, broker: FakeBroker) -> None:
    broker.answers.put_nowait(messages(1, 2, body="x" * 1024 * 1024))
    broker.answers.put_nowait(messages(3, 4))
    assert ids(await inbox.receive(Holder(), 32, 60)) == [1, 2]


async def test_an_error_reaches_all_who_wait(inbox: Inbox, broker: FakeBroker) -> None:
    waits = [asyncio.create_task(inbox.receive(Holder(), 8, 60)) for _ in range(2)]
    await broker.until(lambda: broker.receives)
    broker.answers.put_nowait(Unavailable("away"))
    for wait in waits:
        with pytest.raises(Unavailable):
            await wait
    broker.answers.put_nowait(messages(1))
    assert ids(await inbox.receive(Holder(), 8, 60)) == [1]


async def test_only_what_the_client_has_is_acknowledged(inbox: Inbox, broker: FakeBroker) -> None:
    model, harness = Holder(), Holder()
    inbox.leases.lease(model, [1, 2, 3])
    inbox.leases.deliver([1, 2])
    await inbox.acknowledge(harness, [7])
    assert broker.acknowledged == [7, 1, 2]
    await inbox.release_all(model)
    assert broker.released == [3]


async def test_the_harness_releases_for_all(inbox: Inbox, broker: FakeBroker) -> None:
    model, harness = Holder(), Holder()
    inbox.leases.lease(model, [1])
    inbox.leases.lease(harness, [7, 8])
    inbox.leases.deliver([1, 7, 8])
    await inbox.give_back(harness, [7])
    assert broker.released == [7, 1]
    assert inbox.leases.held(harness) == [8]


async def test_a_refused_acknowledgement_is_told_to_who_asked_and_the_rest_released(
    inbox: Inbox, broker: FakeBroker
) -> None:
    model = Holder()
    inbox.leases.lease(model, [1])
    inbox.leases.deliver([1])
    broker.refuse = NotFound("no such lease")
    with pytest.raises(NotFound):
        await inbox.acknowledge(Holder(), [7])
    inbox.acknowledge_delivered(model)
    await broker.until(lambda: broker.released == [1])


async def test_after_a_restart_of_the_broker_nothing_is_held(
    inbox: Inbox, broker: FakeBroker
) -> None:
    holder = Holder()
    inbox.leases.lease(holder, [1])
    inbox.leases.forget()
    await inbox.release_all(holder)
    assert broker.released == []


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", [State.DELIVERED, State.SETTLED])
def test_a_lease_moves_as_its_table_says(before: State, after: State) -> None:
    leases, holder = HeldMessages(), Holder()
    if before is not State.SETTLED:
        leases.lease(holder, [1])
    if before is State.DELIVERED:
        leases.deliver([1])
    if after is State.SETTLED:
        assert bool(leases.settle([1])) is (after in TRANSITIONS[before])
        assert leases.held(holder) == []
    else:
        leases.deliver([1])
        assert bool(leases.delivered(holder)) is (before in (State.LEASED, State.DELIVERED))
