"""The limits on senders, as the configuration sets them."""

import asyncio

import pytest

from services.broker.limits.limits import MAX_COPIES_BYTES
from services.broker.messages.broker import Broker
from services.broker.parts import Parts
from services.broker.tests.room import ALICE, BOB, EventLog, restart
from services.broker.writes import LARGE
from services.config import MAX_BODY_BYTES, BrokerConfig, SendLimits
from wire.errors import AccessDenied, InvalidArgument, LimitExceeded, NotFound
from wire.principal import THE_OPERATOR, Kind, Principal, agent

LIFECYCLE, APPROVALS = (Principal(Kind.SERVICE, name) for name in ("lifecycle", "approvals"))


async def room_with(room: Parts, **config: object) -> Parts:
    return await restart(room, BrokerConfig.model_validate(config))


async def test_agents_write_only_to_recipients_on_their_list(room: Parts, events: EventLog) -> None:
    own = {"alice": SendLimits(may_send_to=("bob", "operator")), "bob": SendLimits(may_send_to=())}
    limited = await room_with(room, agents=own)
    limited.announcer.listener = events
    broker = limited.broker
    await broker.send(ALICE, "bob", "x", {})
    await broker.send(ALICE, "operator", "x", {})
    await broker.send(ALICE, "alice", "x", {})
    count = len(events.all)
    for to in ("manager", "*", "carol"):
        with pytest.raises(AccessDenied) as refusal:
            await broker.send(ALICE, to, "x", {})
        assert str(refusal.value).startswith(f"alice may not write to {to!r}, only to: bob, oper")
        assert "section [broker.agents.alice] of hyperhive.toml" in str(refusal.value)
        with pytest.raises(InvalidArgument if to == "*" else AccessDenied):
            await limited.questions.ask(ALICE, to, "a question?", {})
    with pytest.raises(AccessDenied, match="only to: nobody"):
        await broker.send(BOB, "alice", "x", {})
    await broker.send(agent("manager"), "alice", "the list is about whom it names", {})
    await broker.send(LIFECYCLE, "bob", "x", {})
    await broker.send(THE_OPERATOR, "bob", "x", {})
    assert len(events.all) == count + 3


async def test_an_agent_has_its_own_size_and_rate(room: Parts) -> None:
    own = {"alice": {"max_body_bytes": 2000, "messages_per_hour": 1, "bytes_per_hour": 5000}}
    broker = (
        await room_with(room, max_body_bytes=1000, agent_messages_per_hour=2, agents=own)
    ).broker
    with pytest.raises(LimitExceeded, match=r"2001 bytes; at most 2000 .*agents.alice\]"):
        await broker.send(ALICE, "bob", "x" * 2001, {})
    await broker.send(ALICE, "bob", "x" * 2000, {})
    with pytest.raises(LimitExceeded, match=r"1 messages and 5000 bytes an hour .*agents.alice\]"):
        await broker.send(ALICE, "bob", "x", {})
    with pytest.raises(LimitExceeded, match=r"1001 bytes; at most 1000 .*section \[broker\]"):
        await broker.send(BOB, "alice", "x" * 1001, {})
    await broker.send(BOB, "alice", "x", {})
    await broker.send(BOB, "alice", "x", {})
    with pytest.raises(LimitExceeded, match=r"2 messages and 67108864 bytes an hour"):
        await broker.send(BOB, "alice", "x", {})


async def test_the_hive_passes_the_limits_of_agents_and_has_one_of_its_own(
    room: Parts,
) -> None:
    broker = (
        await room_with(
            room, max_body_bytes=10, agent_messages_per_hour=1, hive_messages_per_hour=3
        )
    ).broker
    for _ in range(3):
        await broker.send(LIFECYCLE, "manager", "x" * 100, {"kind": "spawned"})
    with pytest.raises(LimitExceeded, match=r"3 messages an hour \(hive_mess.*Try again in 1200 s"):
        await broker.send(LIFECYCLE, "manager", "x", {"kind": "spawned"})
    await broker.send(APPROVALS, "manager", "x", {"kind": "approval-resolved"})
    with pytest.raises(LimitExceeded, match=f"at most {MAX_BODY_BYTES}"):
        await broker.send(APPROVALS, "manager", "x" * (MAX_BODY_BYTES + 1), {})


async def test_the_operator_is_bound_in_the_length_alone(room: Parts) -> None:
    broker = (
        await room_with(
            room, max_body_bytes=10, agent_messages_per_hour=1, hive_messages_per_hour=1
        )
    ).broker
    for _ in range(5):
        await broker.send(THE_OPERATOR, "bob", "x", {})
    with pytest.raises(LimitExceeded):
        await broker.send(THE_OPERATOR, "bob", "x" * 11, {})


async def test_one_row_for_each_but_the_sender(broker: Broker, events: EventLog) -> None:
    first = await broker.send(ALICE, "*", "all of you", {"dedupe_key": "k", "urgent": True})
    assert [event[2:4] for event in events.all] == [("alice", "bob"), ("alice", "manager")]
    assert [event[1] for event in events.all] == [first, first + 1]
    assert await broker.send(ALICE, "*", "all of you", {"dedupe_key": "k"}) == first
    assert len(events.all) == 2
    await broker.send(THE_OPERATOR, "*", "everybody", {})
    assert [event[3] for event in events.all[2:]] == ["alice", "bob", "manager"]
    await broker.register_agent("carol")
    await broker.unregister_agent("bob")
    await broker.send(ALICE, "*", "again", {"in_reply_to": first})
    assert [event[3] for event in events.all[5:]] == ["carol", "manager"]
    with pytest.raises(NotFound, match="no message 99"):
        await broker.send(ALICE, "*", "again", {"in_reply_to": 99})
    for name in ("carol", "manager"):
        await broker.unregister_agent(name)
    with pytest.raises(NotFound, match="no other agent"):
        await broker.send(ALICE, "*", "alone", {})


async def test_a_message_to_all_spends_for_each(room: Parts) -> None:
    broker = (await room_with(room, agent_messages_per_hour=3)).broker
    await broker.send(ALICE, "*", "two of them", {})
    with pytest.raises(LimitExceeded):
        await broker.send(ALICE, "*", "two more", {})
    await broker.send(ALICE, "bob", "one", {})


async def test_a_question_spends_as_a_message_does(room: Parts) -> None:
    limited = await room_with(room, agent_messages_per_hour=1)
    broker, questions = limited.broker, limited.questions
    with pytest.raises(InvalidArgument, match="empty"):
        await questions.ask(ALICE, "bob", "  ", {})
    await questions.ask(ALICE, "bob", "why?", {})
    with pytest.raises(LimitExceeded, match="Try again"):
        await broker.send(ALICE, "bob", "x", {})


async def test_all_copies_of_a_message_are_bounded_together(room: Parts) -> None:
    broker = (await room_with(room, max_body_bytes=MAX_COPIES_BYTES)).broker
    half = "x" * (MAX_COPIES_BYTES // 2)
    for who in (ALICE, THE_OPERATOR):
        with pytest.raises(LimitExceeded, match=r"and \d agents get a copy; all copies together"):
            await broker.send(who, "*", f"{half}x", {})
    await broker.send(ALICE, "*", half, {})
    await broker.send(BOB, "alice", f"{half}x", {})


async def test_large_texts_of_a_sender_are_written_in_order_one_at_a_time(room: Parts) -> None:
    broker = (await room_with(room)).broker
    large = "x" * LARGE
    sent = [(ALICE, large), (ALICE, large), (ALICE, "after them"), (BOB, "hello")]
    first, second, after, bobs = await asyncio.gather(
        *(broker.send(who, "manager", body, {}) for who, body in sent)
    )
    assert first < bobs < second < after
