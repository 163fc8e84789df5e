"""How many messages wait in each inbox."""

from services.broker.messages.broker import Broker
from services.broker.parts import Parts
from services.broker.tests.room import ALICE, BOB, holder, restart
from wire.principal import THE_OPERATOR
from wire.records.broker import MessageCount, MessageState

QUEUED, LEASED, DEAD = MessageState.QUEUED, MessageState.LEASED, MessageState.DEAD


async def test_messages_are_counted_by_inbox_and_state(room: Parts, broker: Broker) -> None:
    assert await room.counts.all() == []
    for number in range(4):
        await broker.send(ALICE, "bob", str(number), {})
    await broker.send(BOB, "alice", "x", {})
    await broker.send(BOB, "operator", "x", {})
    [first, _] = await broker.receive(BOB, holder(), 2, 0)
    expected = [
        MessageCount("alice", QUEUED, 1),
        MessageCount("bob", QUEUED, 2),
        MessageCount("bob", LEASED, 2),
        MessageCount("operator", QUEUED, 1),
    ]
    assert await room.counts.all() == expected
    await broker.acknowledge(BOB, ":1.1", [first.id])
    await broker.acknowledge(THE_OPERATOR, ":1.2", [6])
    assert await room.counts.all() == [*expected[:2], MessageCount("bob", LEASED, 1)]


async def test_dead_letters_are_counted_and_leases_of_an_earlier_broker_are_not(
    room: Parts, broker: Broker
) -> None:
    await broker.send(ALICE, "bob", "x", {})
    for _ in range(100):
        found = await broker.receive(BOB, holder(), 1, 0)
        if not found:
            break
        await broker.release(BOB, ":1.1", [found[0].id], {})
    assert MessageCount("bob", DEAD, 1) in await room.counts.all()
    await broker.send(ALICE, "bob", "y", {})
    await broker.receive(BOB, holder(), 1, 0)
    another = await restart(room)
    assert [c for c in await another.counts.all() if c.recipient == "bob"] == [
        MessageCount("bob", QUEUED, 1),
        MessageCount("bob", DEAD, 1),
    ]
