"""What is handed out again and again for nothing is parked, for the operator to decide."""

import asyncio
import sqlite3

import pytest

from services.broker.messages import dead_letters
from services.broker.messages.broker import Broker
from services.broker.messages.message import Message, State
from services.broker.messages.store import MessageStore
from services.broker.tests.conftest import CONFIG, EventLog
from services.broker.tests.test_broker import (
    ALICE,
    BOB,
    holder,
    ids,
    listed,
    restart,
    until_idle,
    waiting,
)
from services.config import BrokerConfig
from wire.errors import Conflict, LimitExceeded, NotFound
from wire.principal import THE_MANAGER, THE_OPERATOR

TRIES = CONFIG.max_redeliveries + 1


async def fail(broker: Broker, times: int) -> list[int]:
    """Hand out bob's oldest message and take it back so often; returns the redeliveries told."""
    told = []
    for _ in range(times):
        at = holder(":1.fails")
        [message] = await broker.receive(BOB, at, 1, 0)
        told.append(message.redeliveries)
        await broker.release(BOB, at.name, [message.id])
    return told


async def dead(broker: Broker) -> list[Message]:
    return await listed(broker, THE_OPERATOR, {"state": "dead"}, 100)


async def test_after_the_last_redelivery_it_is_parked_at_once(
    broker: Broker, heard: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    second = await broker.send(ALICE, "bob", "behind it", {})
    assert await fail(broker, TRIES) == [0, 1, 2, 3, 4, 5]
    assert heard.all[-1:] == [("parked", first, TRIES)]
    assert [event[0] for event in heard.all if event[1] == first].count("queued") == TRIES
    assert await ids(broker, BOB, holder()) == [second]
    [letter] = await dead(broker)
    assert (letter.id, letter.state, letter.redeliveries) == (first, State.DEAD, TRIES)
    assert await listed(broker, BOB, {"state": "queued"}, 9) == []


async def test_its_holder_leaving_parks_it_too(broker: Broker, heard: EventLog) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    at.left.set_result(None)
    await until_idle(broker)
    assert heard.all[-1] == ("parked", first, TRIES)


async def test_who_leaves_during_the_last_hand_out_parks_it(
    broker: Broker, heard: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    receive = asyncio.create_task(broker.receive(BOB, at, 1, 0))
    await asyncio.sleep(0)
    receive.cancel()
    await asyncio.wait({receive})
    await until_idle(broker)
    assert receive.cancelled()
    assert heard.all[-1] == ("parked", first, TRIES)


async def test_what_a_killed_broker_could_not_park_the_next_one_does(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    assert await ids(broker, BOB, holder()) == [first]
    killed = broker
    another = Broker(killed._store._database, CONFIG)
    [letter] = await another.recover()
    assert (letter.id, letter.recipient, letter.redeliveries) == (first, "bob", TRIES)
    assert [m.id for m in await dead(another)] == [first]
    assert await ids(another, BOB, holder()) == []
    assert await Broker(killed._store._database, CONFIG).recover() == []


async def test_a_late_acknowledgement_ends_it(broker: Broker, heard: EventLog) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.acknowledge(BOB, ":1.99", [first])
    assert heard.all[-1] == ("acknowledged", first, "bob")
    [message] = await listed(broker, BOB, {}, 9)
    assert (message.state, message.redeliveries) == (State.ACKNOWLEDGED, TRIES - 1)
    assert await dead(broker) == []
    with pytest.raises(NotFound):
        await broker.requeue([first])


async def test_an_acknowledgement_on_its_way_when_it_is_released_counts(
    broker: Broker, heard: EventLog
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
    assert heard.all[-1] == ("acknowledged", first, "bob")
    assert await dead(broker) == []


async def test_requeued_it_has_as_many_tries_again(broker: Broker, heard: EventLog) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.send(ALICE, "bob", "newer", {})
    for again in (1, 2):
        await broker.requeue([first])
        assert heard.all[-1:] == [("queued", first, "alice", "bob", "message")]
        told = await fail(broker, TRIES)
        assert told == list(range(again * TRIES, again * TRIES + TRIES))
        assert heard.all[-1] == ("parked", first, (again + 1) * TRIES)
    assert len(await ids(broker, BOB, holder())) == 1
    task = await waiting(broker, holder())
    await broker.requeue([first])
    async with asyncio.timeout(1):
        assert [m.id for m in await task] == [first]


async def test_after_a_restart_what_was_requeued_still_has_its_tries(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.requeue([first])
    await fail(broker, TRIES - 2)
    assert await ids(broker, BOB, holder()) == [first]
    another = await restart(broker)
    assert await fail(another, 1) == [2 * TRIES - 1]
    assert [m.id for m in await dead(another)] == [first]


async def test_dropped_is_the_end(broker: Broker, heard: EventLog) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.drop([first])
    assert heard.all[-1] == ("dropped", first, "bob")
    before = len(heard.all)
    await broker.acknowledge(BOB, ":1.99", [first])
    for call in (broker.requeue, broker.drop):
        with pytest.raises(NotFound, match=rf"No dead letters: {first};.* them\.$"):
            await call([first])
    [message] = await listed(broker, THE_OPERATOR, {"state": "dropped"}, 9)
    assert (message.state, message.redeliveries) == (State.DROPPED, TRIES)
    assert await listed(broker, THE_OPERATOR, {"state": "acknowledged"}, 9) == []
    assert len(heard.all) == before


async def test_only_dead_letters_and_all_of_them(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    queued = await broker.send(ALICE, "bob", "x", {})
    at = holder()
    leased = await broker.send(ALICE, "manager", "x", {})
    assert await ids(broker, THE_MANAGER, at) == [leased]
    for call in (broker.requeue, broker.drop):
        with pytest.raises(NotFound, match=f"No dead letters: {queued}, {leased}, 99; `hivectl"):
            await call([queued, leased, 99, 99])
        with pytest.raises(LimitExceeded):
            await call(list(range(1001)))
    with pytest.raises(NotFound, match=r"99; .* What else was named is done"):
        await broker.requeue([99, first])
    assert await ids(broker, BOB, holder()) == [first, queued]


async def test_a_last_try_that_is_held_is_not_parked(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    assert await ids(broker, BOB, holder(":1.2")) == []
    with pytest.raises(Conflict):
        await broker.acknowledge(BOB, ":1.2", [first])
    await broker.acknowledge(BOB, at.name, [first])
    assert await dead(broker) == []


async def test_a_disk_that_refuses_the_parking_loses_nothing(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]

    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dead_letters, "_park", refuse)
        await broker.release(BOB, at.name, [first])
    assert f"Dead letters [{first}] are parked when the broker starts again" in caplog.text
    assert await ids(broker, BOB, holder()) == []
    [letter] = await Broker(broker._store._database, CONFIG).recover()
    assert letter.id == first


async def test_how_often_is_configured(store: MessageStore) -> None:
    broker = Broker(store._database, BrokerConfig(max_redeliveries=0))
    await broker.recover()
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await fail(broker, 1) == [0]
    assert [m.id for m in await dead(broker)] == [first]
    await broker.requeue([first])
    assert await fail(broker, 1) == [1]
    await broker.close()
