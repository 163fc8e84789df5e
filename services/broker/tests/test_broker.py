"""The rules, without a bus."""

import asyncio
from typing import Any

import pytest

from services.broker.messages.broker import Broker
from services.broker.messages.dead_letters import DeadLetters
from services.broker.messages.inbox import MAX_LEASED, MAX_WAITING
from services.broker.messages.message import Draft
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.storage.database import Database
from services.broker.tests.room import (
    ALICE,
    BOB,
    MAX_BODY,
    EventLog,
    holder,
    ids,
    listed,
    restart,
    until_idle,
    waiting,
)
from wire.errors import (
    AccessDenied,
    Conflict,
    HiveError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Stopping,
)
from wire.principal import DASHBOARD, THE_MANAGER, THE_OPERATOR, Kind, Principal
from wire.records.broker import MessageState

LIFECYCLE = Principal(Kind.SERVICE, "lifecycle")
APPROVALS = Principal(Kind.SERVICE, "approvals")


async def test_a_message_is_sent_received_and_done(broker: Broker, events: EventLog) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {"urgent": True})
    [message] = await broker.receive(BOB, at, 10, 0)
    assert (message.sender, message.body, message.urgent) == ("alice", "hello", True)
    await broker.acknowledge(BOB, at.name, [first])
    await broker.acknowledge(BOB, at.name, [first])
    at.left.set_result(None)
    assert await ids(broker, BOB, holder(":1.2")) == []
    assert events.all == [
        ("queued", first, "alice", "bob", "message"),
        ("delivered", first, 0),
        ("acknowledged", first, "bob"),
    ]


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_a_message_is_handed_out_with_the_span_that_sent_it(broker: Broker) -> None:
    await broker.send(ALICE, "bob", "in a turn", {"traceparent": TRACEPARENT, "urgent": True})
    await broker.send(ALICE, "bob", "outside", {})
    await broker.send(THE_MANAGER, "*", "to all", {"traceparent": TRACEPARENT})
    received = await broker.receive(BOB, holder(), 10, 0)
    assert {m.body: m.traceparent for m in received} == {
        "in a turn": TRACEPARENT,
        "outside": "",
        "to all": TRACEPARENT,
    }
    assert [m.traceparent for m in await broker.receive(ALICE, holder(":1.2"), 1, 0)] == [
        TRACEPARENT
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        TRACEPARENT[:-1],
        TRACEPARENT + "\n",
        TRACEPARENT.upper(),
        "01" + TRACEPARENT[2:],
        TRACEPARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        TRACEPARENT + "-" + "x" * 2000,
    ],
)
async def test_only_a_valid_traceparent_is_stored(broker: Broker, wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid traceparent"):
        await broker.send(ALICE, "bob", "hello", {"traceparent": wrong})
    assert await ids(broker, BOB, holder()) == []


async def test_recipients_of_unfinished_messages_are_listed(
    broker: Broker, database: Database
) -> None:
    at = holder()
    assert await broker.waiting() == set()
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await broker.waiting() == {"bob"}
    assert await ids(broker, BOB, at) == [first]
    assert await broker.waiting() == {"bob"}, "it is leased, not done"
    await broker.acknowledge(BOB, at.name, [first])
    assert await broker.waiting() == set()
    dead = await broker.send(ALICE, "bob", "hello", {})
    await DeadLetters(database).park([dead])
    assert await broker.waiting() == {"alice", "operator"}, "they are told of the dead letter"


async def test_a_waiting_receive_wakes_at_once(room: Parts, broker: Broker) -> None:
    task = await waiting(room, holder())
    first = await broker.send(ALICE, "bob", "hello", {})
    async with asyncio.timeout(1):
        assert [m.id for m in await task] == [first]


async def test_waiting_receives_are_served_in_turn(room: Parts, broker: Broker) -> None:
    one = await waiting(room, holder(":1.1"))
    two = await waiting(room, holder(":1.2"))
    three = await waiting(room, holder(":1.3"))
    sent = [await broker.send(ALICE, "bob", str(i), {}) for i in range(3)]
    async with asyncio.timeout(1):
        got = [[m.id for m in await task] for task in (one, two, three)]
    assert got == [[i] for i in sent]


async def test_simultaneous_sends_wake_all_waiting_calls(room: Parts, broker: Broker) -> None:
    tasks = [await waiting(room, holder(f":1.{i}")) for i in range(10)]
    sent = await asyncio.gather(*(broker.send(ALICE, "bob", str(i), {}) for i in range(10)))
    async with asyncio.timeout(1):
        got = [m.id for task in tasks for m in await task]
    assert sorted(got) == sorted(sent)


async def test_a_lease_ends_with_its_holder(room: Parts, broker: Broker, events: EventLog) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    second = await broker.send(ALICE, "bob", "hello again", {})
    assert await ids(broker, BOB, at, 1) == [first]
    assert await ids(broker, BOB, holder(":1.2"), 2) == [second]
    task = await waiting(room, holder(":1.3"))
    at.left.set_result(None)
    async with asyncio.timeout(1):
        [message] = await task
    assert (message.id, message.redeliveries) == (first, 1)
    assert ("queued", first, "alice", "bob", "message") in events.all[2:]


async def test_a_connection_that_left_leases_nothing(room: Parts, broker: Broker) -> None:
    at = holder()
    task = await waiting(room, at)
    at.left.set_result(None)
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await task == []
    [message] = await broker.receive(BOB, holder(":1.2"), 1, 0)
    assert (message.id, message.redeliveries) == (first, 0)


async def test_a_connection_that_left_before_it_woke_leases_nothing(
    room: Parts, broker: Broker
) -> None:
    at = holder()
    task = await waiting(room, at)
    room.inboxes["bob"].wake()
    at.left.set_result(None)
    first, _ = await MessageStore(room.database).append(Draft("alice", "bob", "message", "hello"))
    assert await task == []
    [message] = await broker.receive(BOB, holder(":1.2"), 1, 0)
    assert (message.id, message.redeliveries) == (first, 0)


async def test_a_connection_that_leaves_during_the_hand_out_leases_nothing(broker: Broker) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    task = asyncio.create_task(broker.receive(BOB, at, 1, 0))
    await asyncio.sleep(0)
    at.left.set_result(None)
    assert await task == []
    [message] = await broker.receive(BOB, holder(":1.2"), 1, 0)
    assert (message.id, message.redeliveries) == (first, 1)


async def test_a_cancelled_receive_makes_room_for_the_next(room: Parts, broker: Broker) -> None:
    first_in_line = await waiting(room, holder(":1.1"))
    second = await waiting(room, holder(":1.2"))
    first_in_line.cancel()
    sent = await broker.send(ALICE, "bob", "hello", {})
    async with asyncio.timeout(1):
        assert [m.id for m in await second] == [sent]


async def test_a_send_is_announced_even_when_its_caller_left(room: Parts, broker: Broker) -> None:
    task = await waiting(room, holder())
    send = asyncio.create_task(broker.send(ALICE, "bob", "hello", {}))
    await asyncio.sleep(0)
    send.cancel()
    async with asyncio.timeout(1):
        assert [m.body for m in await task] == ["hello"]


async def test_release_queues_again_before_newer_ones(broker: Broker) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "1", {})
    assert await ids(broker, BOB, at) == [first]
    second = await broker.send(ALICE, "bob", "2", {})
    await broker.release(BOB, ":1.other", [first])
    assert await ids(broker, BOB, at, 1) == [second]
    await broker.release(BOB, at.name, [first, first, 2**64 - 1])
    [message] = await broker.receive(BOB, at, 1, 0)
    assert (message.id, message.redeliveries) == (first, 1)


async def test_only_its_holder_acknowledges(room: Parts, broker: Broker) -> None:
    at = holder()
    held, other = [await broker.send(ALICE, "bob", "x", {}) for _ in range(2)]
    mine = await broker.send(ALICE, "bob", "y", {})
    assert await ids(broker, BOB, at, 1) == [held]
    with pytest.raises(Conflict, match=f"Messages {held}, {other} were not acknowledged:"):
        await broker.acknowledge(BOB, ":1.2", [held, other])
    assert await ids(broker, BOB, holder(":1.2")) == [other, mine]
    with pytest.raises(Conflict, match=f"Messages {held} were not acknowledged:"):
        await broker.acknowledge(BOB, ":1.2", [mine, held])
    done = await listed(room, BOB, {"state": "acknowledged"}, 10)
    assert [m.id for m in done] == [mine]
    with pytest.raises(NotFound, match=f"inbox of alice has no message {held}"):
        await broker.acknowledge(ALICE, at.name, [held])


async def test_a_late_acknowledgement_counts_after_a_restart(room: Parts, broker: Broker) -> None:
    at = holder()
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, at) == [first]
    restarted = await restart(room)
    await restarted.broker.acknowledge(BOB, at.name, [first])
    assert await ids(restarted.broker, BOB, at) == []


async def test_a_late_acknowledgement_does_not_end_a_running_hand_out(
    room: Parts,
    broker: Broker,
) -> None:
    await broker.send(BOB, "alice", "hello", {})
    [first] = await ids(broker, ALICE, holder())
    broker = (await restart(room)).broker
    receiving = asyncio.create_task(ids(broker, ALICE, holder(":1.2")))
    late = asyncio.create_task(broker.acknowledge(ALICE, ":1.1", [first]))
    assert await receiving == [first]
    with pytest.raises(Conflict):
        await late
    await broker.acknowledge(ALICE, ":1.2", [first])


async def test_after_a_restart_leased_messages_are_redelivered(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "bob", "hello", {})
    assert await ids(broker, BOB, holder()) == [first]
    restarted = await restart(room)
    [queued] = await listed(restarted, BOB, {"state": "queued"}, 10)
    [message] = await restarted.broker.receive(BOB, holder(), 1, 0)
    assert (queued.redeliveries, message.redeliveries) == (1, 1)


async def test_an_agent_sees_its_own_messages_the_operator_all(room: Parts, broker: Broker) -> None:
    one = await broker.send(ALICE, "bob", "1", {})
    two = await broker.send(THE_OPERATOR, "alice", "2", {})
    three = await broker.send(BOB, "manager", "3", {})

    async def seen(who: Principal, **wanted: object) -> list[int]:
        return [m.id for m in await listed(room, who, wanted, 100)]

    assert await seen(ALICE) == [one, two]
    assert await seen(ALICE, to="manager") == []
    assert await seen(THE_MANAGER) == [three]
    assert await seen(THE_OPERATOR) == await seen(DASHBOARD) == [one, two, three]


async def test_the_history_has_the_states(room: Parts, broker: Broker) -> None:
    at = holder()
    for i in range(3):
        await broker.send(ALICE, "bob", str(i), {})
    done, held = await ids(broker, BOB, at, 2)
    await broker.acknowledge(BOB, at.name, [done])
    states = [m.state for m in await listed(room, BOB, {}, 10)]
    assert states == [MessageState.ACKNOWLEDGED, MessageState.LEASED, MessageState.QUEUED]
    assert [m.id for m in await listed(room, BOB, {"state": "leased"}, 10)] == [held]


async def test_the_operator_acknowledges_without_a_lease(room: Parts, broker: Broker) -> None:
    first = await broker.send(ALICE, "operator", "look", {})
    await broker.acknowledge(DASHBOARD, ":1.1", [first])
    assert await listed(room, THE_OPERATOR, {"state": "queued", "to": "operator"}, 9) == []


async def test_services_speak_as_the_system(broker: Broker) -> None:
    options = {"kind": "container-crash", "dedupe_key": "x"}
    first = await broker.send(LIFECYCLE, "manager", "died", options)
    assert await broker.send(LIFECYCLE, "manager", "died", options) == first
    assert await broker.send(APPROVALS, "manager", "y", {"dedupe_key": "x"}) != first
    message, _ = await broker.receive(THE_MANAGER, holder(), 10, 0)
    assert (message.sender, message.kind) == ("system", "container-crash")


async def test_a_destroyed_agents_receive_ends_and_its_messages_wait(
    room: Parts, broker: Broker
) -> None:
    task = await waiting(room, holder(":1.1"))
    behind = await waiting(room, holder(":1.2"))
    await broker.unregister_agent("bob")
    for receive in (task, behind):
        async with asyncio.timeout(1):
            with pytest.raises(NotFound):
                await receive


async def test_stop_ends_waiting_calls(room: Parts, broker: Broker) -> None:
    tasks = [await waiting(room, holder(":1.1")), await waiting(room, holder(":1.2"))]
    room.inboxes.stop()
    for task in tasks:
        async with asyncio.timeout(1):
            with pytest.raises(Stopping):
                await task


async def test_limits(room: Parts, broker: Broker) -> None:
    for _ in range(MAX_WAITING):
        asyncio.create_task(broker.receive(ALICE, holder(), 1, 180_000)).add_done_callback(
            lambda done: done.exception()
        )
    await until_idle(room)
    with pytest.raises(
        LimitExceeded, match="64 calls of Receive already wait for messages to alice"
    ):
        await broker.receive(ALICE, holder(), 1, 0)
    await asyncio.gather(*(broker.send(ALICE, "bob", "x", {}) for _ in range(MAX_LEASED + 1)))
    at = holder()
    assert len(await ids(broker, BOB, at, 5000)) == MAX_LEASED
    with pytest.raises(LimitExceeded, match="1000 messages to bob are leased"):
        await ids(broker, BOB, at, 5000)


@pytest.mark.parametrize(
    ("who", "to", "body", "options", "error", "sentence"),
    [
        (ALICE, "carol", "x", {}, NotFound, "no agent 'carol'; `hivectl list`"),
        (ALICE, "system", "x", {}, NotFound, "no agent 'system'"),
        (ALICE, "bob", "", {}, InvalidArgument, "empty"),
        (ALICE, "bob", " \n", {}, InvalidArgument, "empty"),
        (ALICE, "bob", "x" * (MAX_BODY + 1), {}, LimitExceeded, "1001 bytes; at most 1000"),
        (ALICE, "bob", "ä" * (MAX_BODY - 1), {}, LimitExceeded, "1998 bytes"),
        (
            ALICE,
            "bob",
            "x",
            {"ugrent": True},
            InvalidArgument,
            "'ugrent' is not a valid option of Send",
        ),
        (ALICE, "bob", "x", {"urgent": 1}, InvalidArgument, "'urgent' is not valid"),
        (ALICE, "bob", "x", {"in_reply_to": True}, InvalidArgument, "'in_reply_to' is not valid"),
        (ALICE, "bob", "x", {"in_reply_to": 2**64 - 1}, InvalidArgument, "'in_reply_to'"),
        (ALICE, "bob", "x", {"in_reply_to": 77}, NotFound, "no message 77"),
        (ALICE, "bob", "x", {"dedupe_key": "x" * 129}, InvalidArgument, "at most 128 char"),
        (ALICE, "bob", "x", {"kind": "spawned"}, AccessDenied, "Only the services"),
        (DASHBOARD, "bob", "x", {"kind": "spawned"}, AccessDenied, "Only the services"),
        (LIFECYCLE, "bob", "x", {"kind": "Bad Kind"}, InvalidArgument, "'kind' is not valid"),
    ],
)
async def test_bad_sends_are_refused_and_leave_nothing(
    room: Parts,
    broker: Broker,
    events: EventLog,
    who: Principal,
    to: str,
    body: str,
    options: dict[str, Any],
    error: type[HiveError],
    sentence: str,
) -> None:
    with pytest.raises(error) as refusal:
        await broker.send(who, to, body, options)
    assert sentence in str(refusal.value)
    assert await listed(room, THE_OPERATOR, {}, 10) == []
    assert not events.all


async def test_other_bad_arguments(room: Parts, broker: Broker) -> None:
    with pytest.raises(InvalidArgument, match="0 is not a valid max"):
        await broker.receive(BOB, holder(), 0, 0)
    with pytest.raises(InvalidArgument, match="use at most 180000"):
        await broker.receive(BOB, holder(), 1, 180_001)
    for limit in (0, 1001):
        with pytest.raises(InvalidArgument, match="is not a valid limit: use 1 to 1000"):
            await listed(room, BOB, {}, limit)
    with pytest.raises(InvalidArgument, match="Use one of: to, from, agent, text, before"):
        await listed(room, BOB, {"sender_": "x"}, 1)
    with pytest.raises(InvalidArgument, match="'state' is not valid"):
        await listed(room, BOB, {"state": "lost"}, 1)
    with pytest.raises(LimitExceeded, match="1001 ids"):
        await broker.acknowledge(BOB, ":1.1", list(range(1001)))


@pytest.mark.parametrize("name", ["", "Bob", "../x", "operator", "system", "a234567890", "a\n"])
async def test_bad_names_are_not_registered(broker: Broker, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid agent name"):
        await broker.register_agent(name)


async def test_leases_hold_no_texts_in_memory(room: Parts, broker: Broker) -> None:
    await broker.send(ALICE, "bob", "x" * MAX_BODY, {})
    [message] = await broker.receive(BOB, holder(), 10, 0)
    assert message.body == "x" * MAX_BODY
    [lease] = room.inboxes["bob"].leases.values()
    assert (lease.message.id, lease.message.body) == (message.id, "")
