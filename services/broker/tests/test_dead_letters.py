"""Dead letters: messages that come back too often are parked until the operator decides."""

import asyncio

import pytest

from services.broker.messages.broker import Broker
from services.broker.parts import Parts
from services.broker.tests.room import (
    ALICE,
    BOB,
    CONFIG,
    EventLog,
    holder,
    ids,
    listed,
    make_room,
    refusing,
    restart,
    until_idle,
    waiting,
)
from services.config import BrokerConfig
from wire.errors import Conflict, LimitExceeded, NotFound
from wire.principal import THE_MANAGER, THE_OPERATOR
from wire.records.broker import Message, MessageState

TRIES = CONFIG.max_redeliveries + 1


async def fail(broker: Broker, times: int) -> list[int]:
    """Hand out bob's oldest message and release it so often; return its redeliveries each time."""
    told = []
    for _ in range(times):
        at = holder(":1.fails")
        [message] = await broker.receive(BOB, at, 1, 0)
        told.append(message.redeliveries)
        await broker.release(BOB, at.name, [message.id])
    return told


def latest(events: EventLog, message_id: int) -> tuple[object, ...]:
    """Return the latest event of a message."""
    return [event for event in events.all if event[1] == message_id][-1]


async def dead(room: Parts) -> list[Message]:
    return await listed(room, THE_OPERATOR, {"state": "dead"}, 100)


async def test_a_message_is_parked_after_its_last_redelivery(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    second = await broker.send(ALICE, "bob", "behind it", {})
    assert await fail(broker, TRIES) == [0, 1, 2, 3, 4, 5]
    assert latest(events, first) == ("parked", first, TRIES)
    assert [event[0] for event in events.all if event[1] == first].count("queued") == TRIES
    assert await ids(broker, BOB, holder()) == [second]
    [letter] = await dead(room)
    assert (letter.id, letter.state, letter.redeliveries) == (first, MessageState.DEAD, TRIES)
    assert await listed(room, BOB, {"state": "queued"}, 9) == []


async def test_the_end_of_the_connection_parks_after_the_last_try(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    at.left.set_result(None)
    await until_idle(room)
    assert latest(events, first) == ("parked", first, TRIES)


async def test_a_cancelled_last_hand_out_parks_the_message(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    receive = asyncio.create_task(broker.receive(BOB, at, 1, 0))
    await asyncio.sleep(0)
    receive.cancel()
    await asyncio.wait({receive})
    await until_idle(room)
    assert receive.cancelled()
    assert latest(events, first) == ("parked", first, TRIES)


async def test_the_next_broker_parks_the_letters_of_a_killed_one(
    room: Parts, broker: Broker
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    assert await ids(broker, BOB, holder()) == [first]
    another = make_room(room.database)
    [letter, *_] = await another.broker.recover()
    assert (letter.id, letter.recipient, letter.redeliveries) == (first, "bob", TRIES)
    assert [m.id for m in await dead(another)] == [first]
    assert await ids(another.broker, BOB, holder()) == []
    assert await make_room(room.database).broker.recover() == []


async def test_a_late_acknowledgement_ends_it(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.acknowledge(BOB, ":1.99", [first])
    assert events.all[-1] == ("acknowledged", first, "bob")
    [message] = await listed(room, BOB, {}, 9)
    assert (message.state, message.redeliveries) == (MessageState.ACKNOWLEDGED, TRIES - 1)
    assert await dead(room) == []
    with pytest.raises(NotFound):
        await broker.requeue([first])


async def test_an_acknowledgement_that_races_with_a_release_counts(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    done = asyncio.create_task(broker.acknowledge(BOB, at.name, [first]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await broker.release(BOB, at.name, [first])
    await done
    assert events.all[-1] == ("acknowledged", first, "bob")
    assert await dead(room) == []


async def test_a_requeued_letter_has_all_its_tries_again(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.send(ALICE, "bob", "newer", {})
    for again in (1, 2):
        await broker.requeue([first])
        assert latest(events, first) == ("queued", first, "alice", "bob", "message")
        told = await fail(broker, TRIES)
        assert told == list(range(again * TRIES, again * TRIES + TRIES))
        assert latest(events, first) == ("parked", first, (again + 1) * TRIES)
    assert len(await ids(broker, BOB, holder())) == 1
    task = await waiting(room, holder())
    await broker.requeue([first])
    async with asyncio.timeout(1):
        assert [m.id for m in await task] == [first]


async def test_a_requeued_letter_keeps_its_tries_over_a_restart(
    room: Parts, broker: Broker
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.requeue([first])
    await fail(broker, TRIES - 2)
    assert await ids(broker, BOB, holder()) == [first]
    another = await restart(room)
    assert await fail(another.broker, 1) == [2 * TRIES - 1]
    assert [m.id for m in await dead(another)] == [first]


async def test_dropped_is_the_end(room: Parts, broker: Broker, events: EventLog) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.drop([first])
    assert events.all[-1] == ("dropped", first, "bob")
    before = len(events.all)
    await broker.acknowledge(BOB, ":1.99", [first])
    for call in (broker.requeue, broker.drop):
        with pytest.raises(NotFound, match=rf"Not dead letters: {first};.* them\.$"):
            await call([first])
    [message] = await listed(room, THE_OPERATOR, {"state": "dropped"}, 9)
    assert (message.state, message.redeliveries) == (MessageState.DROPPED, TRIES)
    assert await listed(room, THE_OPERATOR, {"state": "acknowledged"}, 9) == []
    assert len(events.all) == before


async def test_only_dead_letters_and_all_of_them(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    queued = await broker.send(ALICE, "bob", "x", {})
    at = holder()
    leased = await broker.send(ALICE, "manager", "x", {})
    assert await ids(broker, THE_MANAGER, at) == [leased]
    for call in (broker.requeue, broker.drop):
        with pytest.raises(NotFound, match=f"Not dead letters: {queued}, {leased}, 99; `hivectl"):
            await call([queued, leased, 99, 99])
        with pytest.raises(LimitExceeded):
            await call(list(range(1001)))
    with pytest.raises(NotFound, match=r"99; .* The others were changed"):
        await broker.requeue([99, first])
    assert await ids(broker, BOB, holder()) == [first, queued]


async def test_a_last_try_that_is_held_is_not_parked(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    assert await ids(broker, BOB, holder(":1.2")) == []
    with pytest.raises(Conflict):
        await broker.acknowledge(BOB, ":1.2", [first])
    await broker.acknowledge(BOB, at.name, [first])
    assert await dead(room) == []


async def test_a_disk_that_refuses_the_parking_loses_nothing(
    room: Parts, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    async with refusing(room.database, "message", "parked") as refused:
        await broker.release(BOB, at.name, [first])
    assert refused
    assert f"cannot mark messages [{first}] as dead letters" in caplog.text
    assert await ids(broker, BOB, holder()) == []
    [letter, *_] = await make_room(room.database).broker.recover()
    assert letter.id == first


async def test_how_often_is_configured(room: Parts) -> None:
    room = await restart(room, BrokerConfig(max_redeliveries=0))
    broker = room.broker
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await fail(broker, 1) == [0]
    assert [m.id for m in await dead(room)] == [first]
    await broker.requeue([first])
    assert await fail(broker, 1) == [1]
