"""Messages that are taken back, cancelled or given back."""

import asyncio

import pytest

from services.broker.messages.broker import Broker
from services.broker.messages.store import MAX_UNCOUNTED
from services.broker.parts import Parts
from services.broker.tests.room import (
    ALICE,
    BOB,
    CONFIG,
    EventLog,
    holder,
    ids,
    listed,
    restart,
    until_idle,
    waiting,
)
from services.broker.tests.test_dead_letters import dead, fail
from wire.errors import AccessDenied, Conflict, InvalidArgument, NotFound
from wire.principal import THE_MANAGER, THE_OPERATOR
from wire.records.broker import Message, MessageState

TRIES = CONFIG.max_redeliveries + 1


async def one(room: Parts, number: int) -> Message:
    """Return a message as the history shows it."""
    found = await listed(room, THE_OPERATOR, {"before": number + 1, "after": number - 1}, 1)
    return found[0]


async def test_a_queued_message_is_taken_back(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await broker.retract(ALICE, first)
    await broker.retract(ALICE, first)
    assert events.all[-1] == ("retracted", first, "bob")
    assert [event[0] for event in events.all].count("retracted") == 1
    assert await ids(broker, BOB, holder()) == []
    for state, expected in (("retracted", [first]), ("dropped", []), ("acknowledged", [])):
        found = await listed(room, THE_OPERATOR, {"state": state}, 9)
        assert [m.id for m in found] == expected
    assert await broker.waiting() == set()


async def test_only_its_sender_takes_a_message_back(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    for who in (BOB, THE_MANAGER, THE_OPERATOR):
        with pytest.raises(NotFound, match=f"no message {first} that {who.voice} has sent"):
            await broker.retract(who, first)
    with pytest.raises(NotFound):
        await broker.retract(ALICE, 99)
    assert await ids(broker, BOB, holder()) == [first]


async def test_a_message_that_its_recipient_has_is_not_taken_back(
    room: Parts, broker: Broker
) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, at) == [first]
    with pytest.raises(Conflict, match=r"bob is working on it; .*`hivectl cancel bob`\."):
        await broker.retract(ALICE, first)
    await broker.release(BOB, at.name, [first])
    await broker.retract(ALICE, first)
    second = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, at) == [second]
    await broker.acknowledge(BOB, at.name, [second])
    with pytest.raises(Conflict, match="it is acknowledged already"):
        await broker.retract(ALICE, second)
    assert (await one(room, first)).state is MessageState.RETRACTED


async def test_a_message_is_not_taken_back_during_its_hand_out(broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    receive = asyncio.create_task(broker.receive(BOB, holder(), 1, 0))
    await asyncio.sleep(0)
    with pytest.raises(Conflict):
        await broker.retract(ALICE, first)
    assert [m.id for m in await receive] == [first]


async def test_a_message_to_all_is_taken_back_from_those_who_do_not_have_it(
    room: Parts, broker: Broker
) -> None:
    before = await broker.send(THE_OPERATOR, "*", "before", {})
    first = await broker.send(THE_OPERATOR, "*", "lunch", {})
    after = await broker.send(THE_OPERATOR, "*", "after", {})
    await broker.retract(THE_OPERATOR, first)
    copies = await listed(room, THE_OPERATOR, {"state": "retracted"}, 9)
    assert [(m.recipient, m.body) for m in copies] == [
        ("alice", "lunch"),
        ("bob", "lunch"),
        ("manager", "lunch"),
    ]
    assert await ids(broker, BOB, holder()) == [before + 1, after + 1]
    with pytest.raises(Conflict, match=rf"Message {after + 1} was not taken back: bob is"):
        await broker.retract(THE_OPERATOR, after)
    assert (await one(room, after)).state is MessageState.RETRACTED
    assert (await one(room, after + 2)).state is MessageState.RETRACTED
    await broker.retract(THE_OPERATOR, before + 2)
    assert (await one(room, before)).state is MessageState.QUEUED


async def test_a_dead_letter_is_taken_back(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES)
    await broker.retract(ALICE, first)
    assert await dead(room) == []
    with pytest.raises(NotFound):
        await broker.requeue([first])


async def test_the_messages_of_a_cancelled_turn_say_so(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, at) == [first]
    await broker.acknowledge(BOB, at.name, [first], cancelled=True)
    assert events.all[-1] == ("cancelled", first, "bob")
    message = await one(room, first)
    assert (message.state, message.redeliveries) == (MessageState.CANCELLED, 0)
    assert await listed(room, THE_OPERATOR, {"state": "acknowledged"}, 9) == []
    assert [m.id for m in await listed(room, THE_OPERATOR, {"state": "cancelled"}, 9)] == [first]
    assert await ids(broker, BOB, holder()) == []
    with pytest.raises(Conflict, match="cancelled already"):
        await broker.retract(ALICE, first)


async def test_what_is_given_back_does_not_count_for_a_while(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    for number in range(MAX_UNCOUNTED + TRIES):
        assert await dead(room) == []
        at = holder()
        [message] = await broker.receive(BOB, at, 1, 0)
        assert message.redeliveries == number, "its recipient may have seen it"
        await broker.release(BOB, at.name, [first], uncounted=True)
    assert [m.id for m in await dead(room)] == [first]
    await broker.requeue([first])
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    await broker.release(BOB, at.name, [first], uncounted=True)
    another = await restart(room)
    assert await ids(another.broker, BOB, holder()) == [first]


async def test_a_last_try_that_is_given_back_is_not_parked(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    await broker.release(BOB, at.name, [first], uncounted=True)
    assert await ids(broker, BOB, at) == [first]


async def test_only_leases_of_the_caller_are_given_back(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, holder()) == [first]
    await broker.release(BOB, ":1.2", [first], {"reason": "mine"}, uncounted=True)
    await broker.release(ALICE, ":1.1", [first], {"reason": "mine"}, uncounted=True)
    message = await one(room, first)
    assert (message.state, message.reason) == (MessageState.LEASED, "")


async def test_the_reason_of_a_release_is_kept(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    await broker.release(BOB, at.name, [first], {"reason": " the API\nis away " + "x" * 400})
    [message] = await broker.receive(BOB, at, 1, 0)
    assert message.reason.startswith("the API is away xxx")
    assert len(message.reason) == 300
    await broker.release(BOB, at.name, [first])
    assert (await one(room, first)).reason == message.reason
    with pytest.raises(InvalidArgument):
        await broker.release(BOB, at.name, [first], {"why": "x"})


async def test_the_sender_and_the_operator_are_told_of_a_dead_letter(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    first = await broker.send(ALICE, "bob", "count the\nlines", {})
    await fail(broker, TRIES - 1)
    at = holder()
    assert await ids(broker, BOB, at) == [first]
    await broker.release(BOB, at.name, [first], {"reason": "the turn took too long"})
    [told] = await broker.receive(ALICE, holder(), 9, 0)
    assert (told.sender, told.kind, told.in_reply_to) == ("system", "dead-letter", first)
    assert told.body.splitlines() == [
        f"Your message {first} to bob was given up: it was delivered 6 times and not acknowledged.",
        "It is not delivered again unless the operator queues it again. Do not send the same text "
        "again; ask the operator, or go on without an answer.",
        "The reason, in the words of bob: the turn took too long",
        "The message begins: count the lines",
    ]
    [mine] = await listed(room, THE_OPERATOR, {"to": "operator"}, 9)
    assert (mine.sender, mine.kind, mine.in_reply_to) == ("system", "dead-letter", first)
    assert mine.body.startswith("1 message to bob could not be delivered.\n")
    assert f"Message {first} from alice: it was delivered 6 times" in mine.body
    assert mine.body.endswith(
        "\nThe reason, in the words of bob: the turn took too long\n"
        "The message begins: count the lines"
    )
    assert events.all[-4:-1] == [
        ("parked", first, TRIES),
        ("queued", told.id, "system", "alice", "dead-letter"),
        ("queued", mine.id, "system", "operator", "dead-letter"),
    ]


async def test_dead_letters_that_die_together_are_one_message_to_the_operator(
    room: Parts, broker: Broker
) -> None:
    for number in range(12):
        await broker.send(THE_OPERATOR, "bob", f"message {number}", {})
    for _ in range(TRIES):
        at = holder()
        handed = await ids(broker, BOB, at)
        at.left.set_result(None)
        await until_idle(room)
    assert len(handed) == 12
    [mine] = await listed(room, THE_OPERATOR, {"to": "operator"}, 9)
    assert mine.body.startswith("12 messages to bob could not be delivered.\n")
    assert mine.body.count("bob gave no reason") == 10
    assert mine.body.endswith("And 2 more.")


async def test_an_inbox_has_tries_of_its_own(room: Parts, broker: Broker) -> None:
    with pytest.raises(NotFound):
        await broker.set_inbox_options("nobody", {})
    for wrong in ({"max_redeliveries": 1001}, {"tries": 1}):
        with pytest.raises(InvalidArgument):
            await broker.set_inbox_options("bob", wrong)
    await broker.set_inbox_options("bob", {"max_redeliveries": 1})
    first = await broker.send(ALICE, "bob", "hello", {})
    another = await restart(room)
    assert await fail(another.broker, 2) == [0, 1]
    assert [m.id for m in await dead(another)] == [first]
    second = await another.broker.send(BOB, "alice", "hello", {})
    at = holder()
    for _ in range(3):
        assert second in await ids(another.broker, ALICE, at)
        await another.broker.release(ALICE, at.name, [second])
    await another.broker.set_inbox_options("bob", {})
    await another.broker.requeue([first])
    assert await fail(another.broker, TRIES) == list(range(2, 2 + TRIES))


async def test_the_next_broker_parks_by_the_tries_of_each_inbox(
    room: Parts, broker: Broker
) -> None:
    await broker.set_inbox_options("bob", {"max_redeliveries": 0})
    await broker.set_inbox_options("manager", {"max_redeliveries": 10})
    first = await broker.send(ALICE, "bob", "hello", {})
    second = await broker.send(ALICE, "manager", "hello", {})
    assert await ids(broker, BOB, holder()) == [first]
    for _ in range(TRIES):
        at = holder()
        assert await ids(broker, THE_MANAGER, at) == [second]
        await broker.release(THE_MANAGER, at.name, [second])
    assert await dead(room) == []
    another = await restart(room)
    assert [m.id for m in await dead(another)] == [first]
    assert await ids(another.broker, THE_MANAGER, holder()) == [second]


async def test_fewer_tries_park_what_was_tried_as_often(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    await fail(broker, 3)
    second = await broker.send(ALICE, "bob", "hello", {})
    at = holder()
    assert await ids(broker, BOB, at) == [first, second]
    await broker.release(BOB, at.name, [second])
    await broker.set_inbox_options("bob", {"max_redeliveries": 1})
    assert await dead(room) == [], "the one is leased, the other has another try"
    await broker.release(BOB, at.name, [first])
    assert [m.id for m in await dead(room)] == [first]
    await broker.set_inbox_options("bob", {"max_redeliveries": 0})
    assert [m.id for m in await dead(room)] == [first, second]


async def test_urgent_messages_are_received_alone(room: Parts, broker: Broker) -> None:
    ordinary = await broker.send(ALICE, "bob", "hello", {})
    at = holder(":1.turn")
    urgent = asyncio.create_task(broker.receive(BOB, at, 8, 180_000, urgent=True))
    await until_idle(room)
    assert not urgent.done()
    await broker.send(ALICE, "bob", "hello again", {})
    await until_idle(room)
    assert not urgent.done()
    now = await broker.send(THE_OPERATOR, "bob", "stop", {"urgent": True, "interrupt": True})
    [message] = await asyncio.wait_for(urgent, 1)
    assert (message.id, message.urgent, message.interrupt) == (now, True, True)
    assert (await ids(broker, BOB, holder(), 1)) == [ordinary]


async def test_an_urgent_message_goes_to_the_call_for_urgent_ones(
    room: Parts, broker: Broker
) -> None:
    ordinary = await waiting(room, holder())
    urgent = asyncio.create_task(broker.receive(BOB, holder(":1.2"), 1, 180_000, urgent=True))
    await until_idle(room)
    first = await broker.send(ALICE, "bob", "now", {"urgent": True})
    assert [m.id for m in await asyncio.wait_for(urgent, 1)] == [first]
    assert not ordinary.done()
    second = await broker.send(ALICE, "bob", "now", {"urgent": True})
    assert [m.id for m in await asyncio.wait_for(ordinary, 1)] == [second]


async def test_ordinary_messages_do_not_look_for_urgent_ones(room: Parts, broker: Broker) -> None:
    urgent = asyncio.create_task(broker.receive(BOB, holder(), 1, 180_000, urgent=True))
    await until_idle(room)
    statements: list[str] = []
    await room.database.write(lambda db: db.set_trace_callback(statements.append))
    await broker.send(ALICE, "bob", "hello", {})
    await until_idle(room)
    await room.database.write(lambda db: db.set_trace_callback(None))
    assert not [statement for statement in statements if "message_urgent " in statement]
    assert not urgent.done()


async def test_only_the_operator_and_the_manager_interrupt(broker: Broker) -> None:
    options = {"urgent": True, "interrupt": True}
    with pytest.raises(AccessDenied, match="Only the operator and the manager"):
        await broker.send(ALICE, "bob", "stop", options)
    assert await broker.send(THE_MANAGER, "bob", "stop", options)
    with pytest.raises(InvalidArgument, match="set `urgent`, too"):
        await broker.send(THE_OPERATOR, "bob", "stop", {"interrupt": True})
