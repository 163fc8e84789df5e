"""Held agents, and the loops for which the broker holds agents."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from services.broker.__main__ import compose
from services.broker.maintenance.retention import delete
from services.broker.messages.broker import Broker
from services.broker.messages.invocations import Invocations
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.storage.database import Database
from services.broker.tests.clocks import FakeClock
from services.broker.tests.room import (
    ALICE,
    BOB,
    EventLog,
    FakeRequests,
    holder,
    ids,
    listed,
    restart,
    until_idle,
    waiting,
)
from services.config import BrokerConfig
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.principal import THE_MANAGER, THE_OPERATOR
from wire.records.broker import HoldKind, Question, QuestionState

CONFIG = BrokerConfig(loop_messages=12, loop_repeats=5, loop_minutes=10)
LET_THEM, KEEP = "let them go on", "keep them held"


class Seconds:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def room(database: Database, store: MessageStore, seconds: Seconds) -> AsyncIterator[Parts]:
    room = compose(database, CONFIG, Invocations(), FakeRequests(), FakeClock(), seconds)
    await room.broker.recover()
    yield room
    async with asyncio.timeout(5):
        room.inboxes.stop()
        await room.writes.wait()


async def talk(broker: Broker, count: int, text: str = "") -> None:
    """Let alice and bob write to each other, other texts unless `text` is given."""
    for number in range(count):
        one, other = (ALICE, "bob") if number % 2 else (BOB, "alice")
        await broker.send(one, other, text or f"message {random.random()}", {})


def held(room: Parts) -> dict[str, HoldKind]:
    return {hold.agent: hold.kind for hold in room.holds.all()}


async def asked(room: Parts) -> list[Question]:
    return await room.history.list_questions(THE_OPERATOR, {"from": "system"}, 100)


async def test_a_held_agent_gets_only_urgent_messages_of_the_operator(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    await room.holds.hold("bob", " wait  for me")
    [hold] = room.holds.all()
    assert (hold.agent, hold.kind, hold.text) == ("bob", HoldKind.OPERATOR, "wait for me")
    first = await broker.send(ALICE, "bob", "hello", {"urgent": True})
    second = await broker.send(THE_OPERATOR, "bob", "hello", {})
    assert await ids(broker, BOB, holder()) == []
    assert await broker.waiting() == set(), "nobody is woken for them"
    task = await waiting(room, holder())
    await broker.send(THE_OPERATOR, "alice", "hello", {})
    urgent = await broker.send(THE_OPERATOR, "bob", "stop", {"urgent": True})
    assert await broker.waiting() == {"alice", "bob"}, "bob gets it, held or not"
    assert [m.id for m in await asyncio.wait_for(task, 1)] == [urgent]
    task = await waiting(room, holder(), limit=10)
    await room.holds.unhold("bob")
    assert [m.id for m in await asyncio.wait_for(task, 1)] == [second, first]
    told = [event for event in events.all if event[1] == "bob"]
    assert told == [("held", "bob"), ("not held", "bob")]


async def test_holds_outlive_the_broker(room: Parts) -> None:
    await room.holds.hold("bob", "")
    another = await restart(room)
    assert held(another) == {"bob": HoldKind.OPERATOR}
    assert another.holds.all() == room.holds.all()
    await another.broker.send(ALICE, "bob", "hello", {})
    assert await ids(another.broker, BOB, holder()) == []


async def test_holds_that_are_refused(room: Parts) -> None:
    for name in ("operator", "nobody"):
        with pytest.raises(NotFound):
            await room.holds.hold(name, "")
    with pytest.raises(InvalidArgument):
        await room.holds.hold("bob", "two\nlines")
    with pytest.raises(InvalidArgument):
        await room.holds.hold("bob", "x" * 301)
    await room.holds.hold("bob", "because")
    with pytest.raises(Conflict, match=r"bob is held already: because\. `hivectl unhold bob` ends"):
        await room.holds.hold("bob", "")
    with pytest.raises(NotFound, match="'alice' is not held"):
        await room.holds.unhold("alice")


async def test_agents_that_thank_each_other_are_held_and_the_operator_is_asked(
    room: Parts, broker: Broker, events: EventLog
) -> None:
    await talk(broker, 4, "thanks")
    assert held(room) == {}
    await talk(broker, 1, "thanks")
    assert held(room) == {"alice": HoldKind.LOOP, "bob": HoldKind.LOOP}
    [question] = await asked(room)
    assert question.recipient == "operator"
    assert question.choices == [LET_THEM, KEEP]
    assert question.text.startswith(
        "alice and bob wrote each other the same text 5 times within 10 minutes, without a message "
        "of the operator. alice and bob are held: "
    )
    assert ("question added", question.id) in events.all
    for who, to in ((ALICE, "bob"), (BOB, "alice")):
        with pytest.raises(
            Conflict, match=rf"\(question {question.id}\) and decides\. Do not try again"
        ):
            await broker.send(who, to, "thanks", {})
        with pytest.raises(Conflict, match="and decides"):
            await room.questions.ask(who, to, "Why?", {})
    assert await broker.send(ALICE, "manager", "I am held", {})
    assert await ids(broker, ALICE, holder()) == await ids(broker, BOB, holder()) == []


async def test_many_different_messages_are_a_loop_too(room: Parts, broker: Broker) -> None:
    await talk(broker, 12)
    assert held(room) == {}
    await talk(broker, 1)
    assert set(held(room)) == {"alice", "bob"}
    assert "wrote each other 13 messages within 10 minutes" in room.holds.all()[0].text


@pytest.mark.parametrize(("answer", "left"), [(LET_THEM, set()), (KEEP, {"alice", "bob"})])
async def test_the_operator_decides(
    room: Parts, broker: Broker, answer: str, left: set[str]
) -> None:
    await talk(broker, 13)
    [question] = await asked(room)
    task = await waiting(room, holder(), BOB, 100)
    await room.questions.answer(THE_OPERATOR, question.id, [answer])
    await until_idle(room)
    assert set(held(room)) == left
    assert set(held(await restart(room, CONFIG))) == left
    assert task.done() == (not left)
    if not left:
        assert len(await asyncio.wait_for(task, 1)) == 6
        await talk(broker, 12)
        assert held(room) == {}, "the count begins anew"
    assert await listed(room, THE_OPERATOR, {"to": "system"}, 9) == []


async def test_the_end_of_the_last_hold_cancels_the_question(room: Parts, broker: Broker) -> None:
    await talk(broker, 13)
    await room.holds.unhold("alice")
    [question] = await asked(room)
    assert question.state is QuestionState.OPEN
    with pytest.raises(Conflict):
        await broker.send(ALICE, "bob", "again", {})
    await room.holds.unhold("bob")
    [question] = await asked(room)
    assert question.state is QuestionState.CANCELLED
    assert await broker.send(ALICE, "bob", "again", {})


@pytest.mark.parametrize("to", ["alice", "bob", "*"])
async def test_a_message_of_the_operator_begins_the_count_anew(
    room: Parts, broker: Broker, to: str
) -> None:
    for _ in range(3):
        await talk(broker, 12)
        await broker.send(THE_OPERATOR, to, "go on", {})
    assert held(room) == {}


async def test_what_is_older_does_not_count(room: Parts, broker: Broker, seconds: Seconds) -> None:
    for _ in range(5):
        await talk(broker, 8)
        await talk(broker, 4, "thanks")
        seconds.now += 601
    assert held(room) == {}


async def test_others_are_not_held(room: Parts, broker: Broker) -> None:
    await talk(broker, 10)
    for number in range(10):
        await broker.send(THE_MANAGER, "bob", f"{number}", {})
        await broker.send(ALICE, "manager", f"{number}", {})
        await broker.send(ALICE, "operator", "the same", {})
    assert held(room) == {}


async def test_questions_and_answers_are_counted(room: Parts, broker: Broker) -> None:
    for _ in range(6):
        number = await room.questions.ask(ALICE, "bob", f"Why {random.random()}?", {})
        await room.questions.answer(BOB, number, [f"Because {random.random()}."])
    assert held(room) == {}
    await talk(broker, 1)
    assert set(held(room)) == {"alice", "bob"}


async def test_an_agent_that_writes_to_itself_is_held_alone(room: Parts, broker: Broker) -> None:
    for _ in range(5):
        await broker.send(ALICE, "alice", "go on", {})
    assert held(room) == {"alice": HoldKind.LOOP}
    [question] = await asked(room)
    assert question.text.startswith("alice wrote itself the same text 5 times")
    with pytest.raises(Conflict, match=r"alice is held\. The operator was asked"):
        await broker.send(ALICE, "alice", "go on", {})


async def test_one_agent_alone_has_nobody_else_held(room: Parts, broker: Broker) -> None:
    for number in range(3):
        await broker.send(THE_MANAGER, "bob", f"instruction {number}", {})
    for _ in range(5):
        await broker.send(BOB, "manager", "please", {})
    assert held(room) == {"bob": HoldKind.LOOP}
    for _ in range(5):
        await broker.send(ALICE, "manager", "please", {})
    assert held(room) == {"alice": HoldKind.LOOP, "bob": HoldKind.LOOP}
    texts = [question.text for question in sorted(await asked(room), key=lambda one: one.id)]
    for name, text in zip(("bob", "alice"), texts, strict=True):
        assert text.startswith(
            f"{name} wrote manager the same text 5 times within 10 minutes, without a message of "
            f"the operator. {name} is held: "
        )
    assert await broker.send(THE_MANAGER, "*", "Stop, all of you.", {})
    with pytest.raises(Conflict, match=r"so bob is held\. .* Do not try again\.$"):
        await broker.send(THE_MANAGER, "bob", "stop", {})


async def test_an_agent_that_answers_now_and_then_is_not_held(room: Parts, broker: Broker) -> None:
    for number in range(10):
        await broker.send(ALICE, "bob", f"{number}", {})
    for number in range(3):
        await broker.send(BOB, "alice", f"answer {number}", {})
    assert held(room) == {"alice": HoldKind.LOOP}, "who wrote the last message matters not"
    [question] = await asked(room)
    assert question.text.startswith("alice wrote bob 10 messages within 10 minutes")


async def test_a_quarter_of_the_messages_is_a_part_in_the_loop(room: Parts, broker: Broker) -> None:
    for number in range(9):
        await broker.send(ALICE, "bob", f"{number}", {})
    for number in range(4):
        await broker.send(BOB, "alice", f"answer {number}", {})
    assert set(held(room)) == {"alice", "bob"}


async def test_agents_that_each_repeat_a_text_of_their_own_are_both_held(
    room: Parts, broker: Broker
) -> None:
    for _ in range(4):
        await broker.send(ALICE, "bob", "ping", {})
        await broker.send(BOB, "alice", "pong", {})
    assert held(room) == {}
    await broker.send(ALICE, "bob", "ping", {})
    assert set(held(room)) == {"alice", "bob"}
    [question] = await asked(room)
    assert question.text.startswith("alice and bob wrote each other the same texts, one of them 5")


async def test_a_message_to_all_counts_once_and_for_its_sender_alone(
    room: Parts, broker: Broker
) -> None:
    for _ in range(4):
        await broker.send(ALICE, "*", "hello", {})
        await broker.send(ALICE, "bob", "hello", {})
    assert held(room) == {}
    await broker.send(ALICE, "*", "hello", {})
    assert held(room) == {"alice": HoldKind.LOOP}
    [question] = await asked(room)
    assert question.text.startswith("alice wrote all agents the same text 5 times")
    with pytest.raises(Conflict, match=r"so alice is held\..*; end your turn"):
        await broker.send(ALICE, "*", "and more", {})
    assert await broker.send(ALICE, "manager", "I am held", {})
    assert await broker.send(BOB, "*", "hello", {})
    assert await broker.send(BOB, "alice", "hello", {})


async def test_a_held_agent_does_not_reach_its_peer_by_a_message_to_all(
    room: Parts, broker: Broker
) -> None:
    await talk(broker, 5, "thanks")
    for who in (ALICE, BOB):
        with pytest.raises(Conflict, match="and decides"):
            await broker.send(who, "*", "thanks", {})
    assert await broker.send(THE_MANAGER, "*", "hello", {})
    await room.holds.unhold("alice")
    assert await broker.send(ALICE, "*", "hello", {})


async def test_an_agent_that_is_held_already_keeps_its_hold(room: Parts, broker: Broker) -> None:
    await room.holds.hold("alice", "for a reason")
    await talk(broker, 13)
    assert held(room) == {"alice": HoldKind.OPERATOR, "bob": HoldKind.LOOP}
    [question] = await asked(room)
    await room.questions.answer(THE_OPERATOR, question.id, [LET_THEM])
    assert held(room) == {"alice": HoldKind.OPERATOR}


async def test_a_repeated_send_is_counted_once(room: Parts, broker: Broker) -> None:
    for _ in range(20):
        await broker.send(ALICE, "bob", "hello", {"dedupe_key": "k"})
    assert held(room) == {}


async def test_a_hold_outlives_its_question(room: Parts, broker: Broker) -> None:
    await talk(broker, 13)
    [question] = await asked(room)
    await room.questions.answer(THE_OPERATOR, question.id, [KEEP])
    await delete(room.database, 2**62)
    assert await asked(room) == []
    for name in ("alice", "bob"):
        await room.holds.unhold(name)
    assert held(room) == {}


async def test_the_hold_of_an_agent_ends_with_it(room: Parts, broker: Broker) -> None:
    await room.holds.hold("bob", "")
    await broker.unregister_agent("bob")
    assert held(room) == {}
    assert held(await restart(room)) == {}


async def test_zero_turns_it_off(room: Parts) -> None:
    another = await restart(room, BrokerConfig(loop_messages=0, loop_repeats=2))
    await talk(another.broker, 200, "thanks")
    assert held(another) == {}


async def test_a_limit_of_the_provider_asks_whether_one_agent_goes_on(
    room: Parts, events: EventLog
) -> None:
    await room.holds.hold_limit("bob", "its provider's usage limit ends at 14:05")
    assert held(room) == {"bob": HoldKind.LIMIT}
    with pytest.raises(Conflict, match="held already"):
        await room.holds.hold_limit("bob", "again")
    [question] = await asked(room)
    assert question.text.startswith("bob is held: its provider's usage limit ends at 14:05. ")
    await room.questions.answer(THE_OPERATOR, question.id, ["let it go on"])
    assert held(room) == {}
    await room.holds.hold_limit("bob", "its provider's usage limit ends at 15:05")
    [*_, question] = sorted(await asked(room), key=lambda one: one.id)
    await room.questions.answer(THE_OPERATOR, question.id, ["keep it held"])
    assert held(room) == {"bob": HoldKind.LIMIT}
    await room.holds.unhold("bob")
    assert held(room) == {}


def budget(*agents: str, key: str = "day-1") -> dict[str, object]:
    return {
        "agents": list(agents),
        "reason": "the budget of a day is used up",
        "question": "Is the budget to be raised?",
        "choices": ["raise it by $5", "keep it held"],
        "key": key,
    }


async def test_a_budget_holds_agents_and_asks_once(room: Parts, events: EventLog) -> None:
    await room.holds.hold("manager", "wait")
    first = await room.holds.hold_budget(budget("bob", "manager", "nobody"))
    assert held(room) == {"bob": HoldKind.BUDGET, "manager": HoldKind.OPERATOR}
    assert await room.holds.hold_budget(budget("*")) == first
    assert held(room) == {
        "alice": HoldKind.BUDGET,
        "bob": HoldKind.BUDGET,
        "manager": HoldKind.OPERATOR,
    }
    [question] = await asked(room)
    assert (question.id, question.choices) == (first, ["raise it by $5", "keep it held"])
    await room.questions.answer(THE_OPERATOR, first, ["raise it by $5"])
    assert held(await restart(room))["bob"] is HoldKind.BUDGET, "the ledger ends the hold"


async def test_the_ledger_releases_what_a_budget_holds(room: Parts, events: EventLog) -> None:
    await room.holds.hold("manager", "wait")
    first = await room.holds.hold_budget(budget("alice", "bob"))
    await room.holds.release_budget(["bob", "manager"], 0)
    assert held(room) == {"alice": HoldKind.BUDGET, "manager": HoldKind.OPERATOR}
    assert [one.state for one in await asked(room)] == [QuestionState.OPEN]
    await room.holds.release_budget(["*"], first)
    assert held(room) == {"manager": HoldKind.OPERATOR}
    [question] = await room.history.list_questions(THE_OPERATOR, {}, 10)
    assert question.state is QuestionState.CANCELLED
    await room.holds.release_budget(["*"], first)
    second = await room.holds.hold_budget(budget("alice", key="day-2"))
    assert second != first
    await room.holds.unhold("alice")
    states = [one.state for one in await room.history.list_questions(THE_OPERATOR, {}, 10)]
    assert states == [QuestionState.CANCELLED] * 2


async def test_another_budget_gives_a_hold_another_reason(room: Parts) -> None:
    await room.holds.hold("manager", "wait")
    await room.holds.hold_budget(budget("alice", "bob"))
    [before, _, _] = room.holds.all()
    other = {**budget("alice", "manager", key="week-1"), "reason": "the week is used up"}
    second = await room.holds.hold_budget(other)
    await room.holds.hold_budget({**other, "agents": ["*"], "reason": "everything is used up"})
    expected = [before._replace(text="the week is used up")]
    expected += [hold for hold in room.holds.all() if hold.agent != "alice"]
    assert room.holds.all() == expected
    assert [hold.text for hold in expected[1:]] == ["the budget of a day is used up", "wait"]
    assert (await restart(room)).holds.all() == expected
    await room.holds.release_budget(["alice", "bob"], 0)
    states = {one.id: one.state for one in await asked(room)}
    assert states[second] is QuestionState.OPEN


async def test_a_hold_of_a_budget_is_checked(room: Parts) -> None:
    with pytest.raises(InvalidArgument, match="choices"):
        await room.holds.hold_budget({**budget("bob"), "choices": []})
