"""The order of an inbox, its bounds, and its purge: no sender keeps the others waiting."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.broker.messages.broker import Broker
from services.broker.messages.message import Draft
from services.broker.messages.queue import Bounds
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.storage.database import Database
from services.broker.tests.room import (
    ALICE,
    BOB,
    EventLog,
    holder,
    ids,
    listed,
    restart,
    waiting,
)
from services.broker.tests.test_schema import STORES, load
from services.config import BrokerConfig
from wire.errors import InvalidArgument, LimitExceeded, NotFound
from wire.principal import THE_OPERATOR, Kind, Principal, agent
from wire.records.broker import Message, MessageState, Purged

CAROL = agent("carol")
LIFECYCLE = Principal(Kind.SERVICE, "lifecycle")


async def send(broker: Broker, who: Principal, to: str, count: int = 1) -> list[int]:
    return await asyncio.gather(*(broker.send(who, to, f"text {i}", {}) for i in range(count)))


async def take(broker: Broker, limit: int, who: Principal = ALICE) -> list[Message]:
    """Receive and acknowledge."""
    at = holder()
    messages = await broker.receive(who, at, limit, 0)
    await broker.acknowledge(who, at.name, [m.id for m in messages])
    return messages


def senders(messages: Sequence[Message]) -> list[str]:
    return [message.sender for message in messages]


async def test_the_operator_comes_before_600_messages_of_an_agent(broker: Broker) -> None:
    await send(broker, BOB, "alice", 600)
    [urgent] = await send(broker, THE_OPERATOR, "alice")
    assert (await ids(broker, ALICE, holder(), 10))[0] == urgent


async def test_the_operator_then_the_hive_then_senders_in_turn(broker: Broker) -> None:
    for who in (BOB, agent("manager"), LIFECYCLE, THE_OPERATOR):
        await send(broker, who, "alice", 2)
    first_two = ["operator", "operator", "system", "system"]
    assert senders(await take(broker, 5)) == [*first_two, "bob"]
    await send(broker, THE_OPERATOR, "alice")
    assert senders(await take(broker, 9)) == ["operator", "manager", "bob", "manager"]


async def test_a_sender_joins_the_round_that_is_handed_out(broker: Broker) -> None:
    await send(broker, BOB, "alice", 20)
    await take(broker, 5)
    await send(broker, agent("manager"), "alice", 3)
    assert senders(await take(broker, 7)) == ["manager", "bob"] * 3 + ["bob"]


async def test_small_batches_serve_every_sender(broker: Broker) -> None:
    """The endpoint receives a few messages at a time: each batch continues the round."""
    for name in ("bob", "carol", "dora", "manager"):
        await send(broker, agent(name), "alice", 3)
    turns = [senders(await take(broker, 1)) for _ in range(12)]
    assert turns == [["bob"], ["carol"], ["dora"], ["manager"]] * 3


async def test_an_urgent_message_comes_before_the_others_of_its_sender(broker: Broker) -> None:
    first, second = await send(broker, BOB, "alice", 2)
    urgent = await broker.send(BOB, "alice", "now!", {"urgent": True})
    other = await broker.send(BOB, "alice", "and now!", {"urgent": True})
    hive = await send(broker, Principal(Kind.SERVICE, "approvals"), "alice")
    ordinary = await send(broker, THE_OPERATOR, "alice")
    now = await broker.send(THE_OPERATOR, "alice", "now!", {"urgent": True})
    expected = [now, *ordinary, *hive, urgent, first, other, second]
    assert [m.id for m in await take(broker, 10)] == expected


async def test_urgent_messages_of_one_agent_do_not_keep_others_waiting(broker: Broker) -> None:
    [ordinary] = await send(broker, CAROL, "alice")
    urgent = [await broker.send(BOB, "alice", "now!", {"urgent": True}) for _ in range(5)]
    assert [m.id for m in await take(broker, 3)] == [urgent[0], ordinary, urgent[1]]


async def test_urgent_messages_that_come_alone_do_not_end_the_rounds(broker: Broker) -> None:
    await send(broker, CAROL, "alice", 5)
    for _ in range(5):
        await broker.send(BOB, "alice", "now!", {"urgent": True})
    taken = await broker.receive(ALICE, holder(":1.turn"), 5, 0, urgent=True)
    assert senders(taken) == ["bob"] * 5
    await send(broker, agent("manager"), "alice")
    assert senders(await take(broker, 3)) == ["carol", "manager", "carol"]


async def test_a_released_message_keeps_its_place(broker: Broker) -> None:
    sent = await send(broker, BOB, "alice", 3)
    at = holder()
    assert await ids(broker, ALICE, at, 1) == sent[:1]
    other = await send(broker, agent("manager"), "alice")
    await broker.release(ALICE, at.name, sent[:1])
    assert await ids(broker, ALICE, at, 9) == [sent[0], *other, *sent[1:]]


async def test_the_turns_survive_a_restart(room: Parts) -> None:
    await send(room.broker, BOB, "alice", 9)
    await take(room.broker, 4)
    again = (await restart(room)).broker
    await send(again, agent("manager"), "alice", 2)
    assert senders(await take(again, 5)) == ["manager", "bob", "manager", "bob", "bob"]


async def test_questions_and_answers_take_the_turns_of_those_who_cause_them(
    room: Parts, broker: Broker, questions: Questions
) -> None:
    """Otherwise an agent could ask and cancel, and so fill the place of the hive's messages."""
    for _ in range(20):
        await questions.cancel(BOB, await questions.ask(BOB, "alice", "Why?", {}))
    about = await questions.ask(ALICE, "bob", "Why not?", {})
    await questions.answer(BOB, about, ["Because."])
    asked = await questions.ask(ALICE, "operator", "May I?", {})
    await questions.answer(THE_OPERATOR, asked, ["Yes."])
    await send(broker, agent("manager"), "alice")
    [hive] = await send(broker, LIFECYCLE, "alice")
    found = await take(broker, 5)
    assert "answered by operator" in found[0].body
    assert found[1].id == hive
    assert [m.sender for m in found[2:]] == ["system", "manager", "system"]


async def test_reminders_take_the_turns_of_their_owner(
    room: Parts, broker: Broker, reminders: Reminders
) -> None:
    for _ in range(3):
        await reminders.remind(ALICE, 0, "look", {"after_s": 1})
    await reminders.fall_due(room.deadlines.now().__class__(wall=2**61, boot="", since_boot=2**61))
    await send(broker, BOB, "alice", 2)
    assert senders(await take(broker, 9)) == ["system", "bob", "system", "bob", "system"]


NAMES = ("bob", "carol", "dora", "manager")
Step = tuple[str, int]
steps = st.lists(
    st.tuples(st.sampled_from([*NAMES, "operator", "receive"]), st.integers(1, 6)), max_size=30
)


@settings(
    max_examples=20,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(steps=steps)
def test_nobody_waits_longer_than_a_round(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """A sender's next message waits for the rest of a round, and then for the others of its own:
    at most two messages of each other agent."""
    asyncio.run(_play(tmp_path_factory, steps))


async def _play(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    database = Database.open(tmp_path_factory.mktemp("fair") / "broker.sqlite")
    try:
        store = MessageStore(database)
        await store.register("alice")
        queued: dict[str, list[int]] = {name: [] for name in [*NAMES, "operator"]}
        overtaken: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
        for what, count in [*steps, ("receive", 10**6)]:
            if what != "receive":
                drafts = [Draft(what, "alice", "message", "x")] * count
                sent = await asyncio.gather(*(store.append(draft) for draft in drafts))
                queued[what] += [number for number, _changes in sent]
                continue
            handed = (await store.hand_out("alice", count, (), tries=1, invocation="")).messages
            await store.acknowledge("alice", [m.id for m in handed], unreceived=False)
            for message in handed:
                assert message.id == queued[message.sender].pop(0), "not in the sender's order"
                if message.sender == "operator":
                    continue
                assert not queued["operator"], "an agent came before the operator"
                overtaken[message.sender].clear()
                for name in NAMES:
                    if queued[name] and name != message.sender:
                        overtaken[name][message.sender] += 1
                        assert overtaken[name][message.sender] <= 2, f"{name} waits too long"
        assert not any(queued.values())
    finally:
        await database.close()


async def fill(database: Database, first: int, count: int) -> None:
    """Queue `count` messages from bob to alice."""

    def job(db: sqlite3.Connection) -> None:
        numbers = "WITH RECURSIVE n(i) AS (VALUES (:first) UNION ALL SELECT i + 1 FROM n "
        numbers += "WHERE i < :first + :count - 1) "
        values = {"first": first, "count": count}
        db.execute(
            f"INSERT INTO message (id, sender, recipient, kind, queued, urgent, in_reply_to, "
            f"origin, round) {numbers} SELECT i, 'bob', 'alice', 'message', i, 0, 0, 'bob', i "
            "FROM n",
            values,
        )
        db.execute(f"INSERT INTO body {numbers} SELECT i, 'text' FROM n", values)

    await database.write(job)


async def steps_of(database: Database, call: Callable[[], object]) -> int:
    """Return how many steps sqlite takes for the writes of a call, in hundreds."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    await database.write(lambda db: db.set_progress_handler(tick, 100))
    await call()  # type: ignore[misc]
    await database.write(lambda db: db.set_progress_handler(None, 0))
    return count


async def test_waiting_messages_of_an_older_store_take_turns(path: Path) -> None:
    load(path, STORES[0].with_name("3.sql"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM message")
        db.executemany(
            "INSERT INTO message (id, sender, recipient, kind, queued, urgent, in_reply_to, "
            "acknowledged) VALUES (?, ?, 'alice', 'message', 1, 0, 0, ?)",
            [
                *((number, "bob", 1 if number == 1 else None) for number in range(1, 5)),
                (5, "manager", None),
                (6, "system", None),
                (7, "operator", None),
                (8, "manager", None),
            ],
        )
        db.execute("INSERT OR REPLACE INTO body SELECT id, 'text' FROM message")
        db.commit()
    database = Database.open(path)
    try:
        store = MessageStore(database, Bounds(sender=3, inbox=100))
        await store.register("alice")
        with pytest.raises(LimitExceeded, match="3 messages from bob"):
            await store.append(Draft("bob", "alice", "message", "x"))
        handed = (await store.hand_out("alice", 10, (), tries=1, invocation="")).messages
        assert [m.id for m in handed] == [7, 6, 2, 5, 3, 8, 4]
    finally:
        await database.close()


@pytest.mark.long
async def test_a_long_queue_costs_no_more_than_a_short_one(
    room: Parts, broker: Broker, database: Database
) -> None:
    await fill(database, 1, 1000)

    async def exchange() -> None:
        await send(broker, THE_OPERATOR, "alice", 10)
        await send(broker, agent("manager"), "alice", 10)
        for _ in range(20):
            assert len(await take(broker, 5)) == 5

    short = await steps_of(database, exchange)
    await fill(database, 10_000, 100_000)
    long = await steps_of(database, exchange)
    assert long < 1.5 * short


async def test_the_next_messages_are_found_in_an_index(
    store: MessageStore, database: Database
) -> None:
    statements: list[str] = []
    await store.append(Draft("bob", "alice", "message", "x"))
    await database.write(lambda db: db.set_trace_callback(statements.append))
    await store.append(Draft("bob", "alice", "message", "x"))
    await store.hand_out("alice", 10, (), tries=6, invocation="")
    await store.purge("alice", None, (), 10)
    await store.purge("alice", "bob", (), 10)
    await database.write(lambda db: db.set_trace_callback(None))

    def explain(db: sqlite3.Connection) -> list[str]:
        return [
            row[3]
            for statement in statements
            if "message" in statement and not statement.startswith("--")
            for row in db.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]

    used = await database.read(explain)
    for index in ("message_round", "message_origin", "message_inbox"):
        assert any(f"INDEX {index} (recipient=" in plan for plan in used), index
    assert not [plan for plan in used if plan.startswith(("SCAN message", "USE TEMP B-TREE"))]


async def test_a_sender_and_an_inbox_have_a_bound(room: Parts) -> None:
    bounded = await restart(room, BrokerConfig(max_queued_per_sender=4, max_redeliveries=0))
    broker, questions = bounded.broker, bounded.questions
    sent = await send(broker, BOB, "alice", 4)
    with pytest.raises(
        LimitExceeded, match=r"^4 messages from bob wait in the inbox of alice.*max"
    ):
        await send(broker, BOB, "alice")
    with pytest.raises(LimitExceeded, match=r"`hivectl purge-inbox alice --from bob`"):
        await questions.ask(BOB, "alice", "Why?", {})
    with pytest.raises(LimitExceeded, match="the inbox of alice"):
        await send(broker, BOB, "*")
    assert await listed(bounded, THE_OPERATOR, {"to": "manager"}, 9) == []
    await send(broker, BOB, "manager")

    # Leased messages count; what is acknowledged or a dead letter does not.
    at = holder()
    assert await ids(broker, ALICE, at, 2) == sent[:2]
    with pytest.raises(LimitExceeded):
        await send(broker, BOB, "alice")
    await broker.acknowledge(ALICE, at.name, sent[:1])
    await broker.release(ALICE, at.name, sent[1:2])
    await send(broker, BOB, "alice", 2)


async def test_in_a_full_inbox_each_sender_has_its_share(room: Parts) -> None:
    bounded = await restart(room, BrokerConfig(max_queued_per_inbox=40))
    broker = bounded.broker
    await send(broker, BOB, "alice", 40)
    with pytest.raises(LimitExceeded, match=r"is full: 40 messages .*bob has its share of 40"):
        await send(broker, BOB, "alice")
    await send(broker, CAROL, "alice", 20)
    with pytest.raises(LimitExceeded, match=r"is full.*carol has its share of 20\. Wait until al"):
        await send(broker, CAROL, "alice")
    await send(broker, agent("manager"), "alice", 13)
    with pytest.raises(LimitExceeded, match=r"is full.*share of 13"):
        await send(broker, agent("manager"), "alice")
    for name in ("dora", "emil", "fritz", "gina"):
        await send(broker, agent(name), "alice", 10)


async def test_the_operator_and_the_hive_always_have_room(
    room: Parts, broker: Broker, questions: Questions
) -> None:
    bounded = await restart(room, BrokerConfig(max_queued_per_sender=1, max_queued_per_inbox=1))
    await send(bounded.broker, BOB, "alice")
    await send(bounded.broker, THE_OPERATOR, "alice", 3)
    await send(bounded.broker, THE_OPERATOR, "*", 3)
    await send(bounded.broker, LIFECYCLE, "alice", 3)
    asked = await bounded.questions.ask(ALICE, "bob", "Why?", {})
    await bounded.questions.answer(BOB, asked, ["Because."])
    await send(bounded.broker, BOB, "operator")
    with pytest.raises(LimitExceeded, match="inbox of operator"):
        await send(bounded.broker, BOB, "operator")
    await send(bounded.broker, LIFECYCLE, "operator", 3)


async def test_a_repeated_send_is_answered_by_a_full_inbox(room: Parts) -> None:
    broker = (await restart(room, BrokerConfig(max_queued_per_sender=1))).broker
    first = await broker.send(BOB, "alice", "x", {"dedupe_key": "k"})
    assert await broker.send(BOB, "alice", "x", {"dedupe_key": "k"}) == first


async def test_purge_drops_what_is_queued_and_says_how_many(
    room: Parts, broker: Broker, questions: Questions, events: EventLog
) -> None:
    spam = await send(broker, BOB, "alice", 600)
    await questions.ask(BOB, "alice", "Why?", {})
    others = await send(broker, agent("manager"), "alice", 2)
    at = holder()
    leased = await ids(broker, ALICE, at, 3)
    events.all.clear()
    assert await broker.purge("alice", {"from": "bob"}) == Purged(dropped=599, leased=2)
    assert len([event for event in events.all if event[0] == "dropped"]) == 599
    shown = await listed(room, BOB, {"to": "alice", "state": MessageState.DROPPED}, 1000)
    assert {m.id for m in shown} == {*spam} - {*leased}

    # The turn that works on them goes on; what it gives back is queued again.
    await broker.release(ALICE, at.name, leased)
    assert await ids(broker, ALICE, at, 9) == [*leased, others[1]]
    await broker.acknowledge(ALICE, at.name, leased)
    assert await broker.purge("alice", {}) == Purged(dropped=0, leased=1)


async def test_purge_leaves_dead_letters(room: Parts) -> None:
    broker = (await restart(room, BrokerConfig(max_redeliveries=0))).broker
    [letter] = await send(broker, BOB, "alice")
    at = holder()
    await broker.release(ALICE, at.name, await ids(broker, ALICE, at))
    assert await broker.purge("alice", {}) == Purged(0, 0)
    await broker.requeue([letter])
    assert await broker.purge("alice", {}) == Purged(1, 0)
    assert await ids(broker, ALICE, at) == []


async def test_purge_waits_for_a_hand_out_that_is_on_its_way(room: Parts, broker: Broker) -> None:
    at = holder()
    receiving = await waiting(room, at, who=ALICE)
    [number] = await send(broker, BOB, "alice")
    purged = await broker.purge("alice", {})
    received = [m.id for m in await asyncio.wait_for(receiving, 10)]
    assert (received, purged) == ([number], Purged(0, 1))


async def test_purge_refuses_what_it_does_not_know(broker: Broker) -> None:
    with pytest.raises(NotFound, match="no inbox 'nobody'"):
        await broker.purge("nobody", {})
    with pytest.raises(InvalidArgument, match="to"):
        await broker.purge("alice", {"to": "bob"})
    assert await broker.purge("operator", {"from": "nobody"}) == Purged(0, 0)
    await broker.unregister_agent("bob")
    await send(broker, ALICE, "alice")
    await broker.unregister_agent("alice")
    assert await broker.purge("alice", {}) == Purged(1, 0)
