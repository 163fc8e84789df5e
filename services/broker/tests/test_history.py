"""Pages of messages and questions."""

import asyncio
import json
import sqlite3
import threading
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.broker.messages.message import Draft
from services.broker.messages.rows import PAGE_BYTES
from services.broker.messages.store import MessageStore
from services.broker.queries import pages
from services.broker.queries.history import MESSAGE_FILTER, QUESTION_FILTER, History, limited
from services.broker.storage import schema
from services.broker.storage.database import Database
from services.broker.storage.time_range import ids_in_range
from wire.errors import InvalidArgument, LimitExceeded
from wire.principal import THE_MANAGER, THE_OPERATOR, Kind, Principal, agent
from wire.records.broker import MessageFilter, MessageState, QuestionFilter, QuestionState

# The agents are registered.
pytestmark = pytest.mark.usefixtures("store")

ALICE, BOB = agent("alice"), agent("bob")


@pytest.fixture
def past(database: Database) -> History:
    return History(database, frozenset)


async def say(
    database: Database, sender: str, to: str, body: str, queued: int | None = None
) -> int:
    message_id, _ = await MessageStore(database).append(Draft(sender, to, "message", body))
    if queued is not None:
        await database.write(
            lambda db: db.execute(
                "UPDATE message SET queued = ? WHERE id = ?", (queued, message_id)
            )
        )
    return message_id


def _backdate(db: sqlite3.Connection, *, message_id: int, queued: int) -> None:
    db.execute("UPDATE message SET queued = ? WHERE id = ?", (queued, message_id))


async def ask(database: Database, asker: str, to: str, text: str, **more: Any) -> int:
    """Store a question as the rules do, with its words in the index."""
    row = {"asked": 1, "state": "open", "answer": "[]", **more}

    def job(db: sqlite3.Connection) -> int:
        inserted = db.execute(
            "INSERT INTO question (asker, recipient, text, choices, multi, asked, state, answer) "
            "VALUES (?, ?, ?, '[]', 0, ?, ?, ?)",
            (asker, to, text, row["asked"], row["state"], row["answer"]),
        )
        db.execute(
            "INSERT INTO question_search (rowid, text, answer) VALUES (?, ?, ?)",
            (inserted.lastrowid, text, row["answer"]),
        )
        return int(inserted.lastrowid or 0)

    return await database.write(job)


async def ids(past: History, who: Principal = THE_OPERATOR, limit: int = 100, **wanted: Any) -> Any:
    wanted = {key.rstrip("_"): value for key, value in wanted.items()}
    return [message.id for message in await past.list_messages(who, wanted, limit)]


async def asked(
    past: History, who: Principal = THE_OPERATOR, limit: int = 100, **wanted: Any
) -> Any:
    wanted = {key.rstrip("_"): value for key, value in wanted.items()}
    return [found.id for found in await past.list_questions(who, wanted, limit)]


async def test_an_agent_is_on_either_side(database: Database, past: History) -> None:
    a = await say(database, "alice", "bob", "one")
    b = await say(database, "bob", "manager", "two")
    c = await say(database, "manager", "alice", "three")
    assert await ids(past, agent="bob") == [a, b]
    assert await ids(past, agent="bob", to="manager") == [b]
    assert await ids(past, agent="bob", from_="manager") == []
    assert await ids(past, ALICE, agent="bob") == [a]
    assert await ids(past, ALICE, agent="alice") == [a, c]
    assert await ids(past, THE_MANAGER, agent="bob", text="two") == [b]
    assert await ids(past, ALICE, agent="bob", text="two") == []


async def test_a_thread_is_found_however_much_came_since(database: Database, past: History) -> None:
    async def say_to(number: int, sender: str, to: str) -> int:
        draft = Draft(sender, to, "message", "x", in_reply_to=number)
        return (await MessageStore(database).append(draft))[0]

    first = await say(database, "operator", "alice", "first")
    other = await say(database, "bob", "alice", "another")
    second = await say_to(first, "alice", "operator")
    await database.write(
        lambda db: db.executemany(
            "INSERT INTO message (sender, recipient, kind, queued, urgent, in_reply_to, origin, "
            "round) VALUES ('alice', 'operator', 'message', 1, 0, 0, 'alice', 0)",
            [()] * 2000,
        )
    )
    third = await say_to(second, "operator", "alice")
    also = await say_to(first, "alice", "bob")
    await say_to(other, "alice", "bob")
    whole = [first, second, third, also]
    for number in whole:
        assert await ids(past, thread=number) == whole
    assert await ids(past, thread=second, limit=2) == [third, also]
    assert await ids(past, thread=second, before=third) == [first, second]
    assert await ids(past, BOB, thread=second) == [also]
    assert await ids(past, thread=second, text="first") == [first]
    # An answer to a message that was deleted still belongs to the others.
    await database.write(lambda db: db.execute("DELETE FROM message WHERE id = ?", (first,)))
    assert await ids(past, thread=third) == [second, third, also]
    assert await ids(past, thread=10**6) == []
    with pytest.raises(InvalidArgument, match="thread"):
        await ids(past, thread=0)


async def test_notify_sees_only_the_operators_messages(database: Database, past: History) -> None:
    notify = Principal(Kind.SERVICE, "notify")
    mine = await say(database, "alice", "operator", "look")
    await say(database, "alice", "bob", "secret")
    question = await ask(database, "alice", "operator", "which way?")
    await ask(database, "alice", "bob", "secret?")
    assert await ids(past, notify) == [mine]
    assert await ids(past, notify, agent="bob") == []
    assert await asked(past, notify) == [question]
    assert await asked(past, notify, to="bob") == []


async def test_words_are_found_newest_last_in_stable_pages(
    database: Database, past: History
) -> None:
    everything = [
        await say(database, "alice", ("bob", "manager")[i % 2], f"report {i}") for i in range(10)
    ]
    await say(database, "alice", "bob", "nothing of it")
    assert await ids(past, text="report", limit=3) == everything[-3:]
    pages: list[int] = []
    before = everything[-1] + 100
    while page := await ids(past, text="REPORT", limit=3, before=before):
        pages[:0], before = page, page[0]
        # Messages that arrive meanwhile change no older page.
        await say(database, "alice", "bob", "another report")
    assert pages == everything
    assert await ids(past, BOB, text="report", before=everything[-1]) == everything[:-1:2]
    assert await ids(past, text="report", after=everything[6], limit=2) != everything[7:9]
    assert await ids(past, text="report 7") == [everything[7]]
    assert await ids(past, text="report", state="acknowledged") == []


async def test_spans_of_time(database: Database, past: History) -> None:
    at = {time: await say(database, "alice", "bob", "x", queued=time) for time in (10, 20, 20, 30)}
    assert await ids(past, since=20, until=30) == [at[20] - 1, at[20]]
    assert await ids(past, since=20) == [at[20] - 1, at[20], at[30]]
    assert await ids(past, until=10) == []
    assert await ids(past, until=-(2**63), since=2**63 - 1) == []
    assert await ids(past, BOB, until=11, text="x", agent="alice") == [at[10]]


async def test_dead_and_dropped_ones(database: Database, past: History) -> None:
    waiting, dead, dropped, done = [await say(database, "alice", "bob", "x") for _ in range(4)]

    def park(db: sqlite3.Connection) -> None:
        db.execute("UPDATE message SET parked = 1 WHERE id IN (?, ?)", (dead, dropped))
        db.execute("UPDATE message SET acknowledged = 1 WHERE id IN (?, ?)", (dropped, done))

    await database.write(park)
    for state, expected in zip(
        (
            MessageState.QUEUED,
            MessageState.DEAD,
            MessageState.DROPPED,
            MessageState.ACKNOWLEDGED,
            MessageState.LEASED,
        ),
        ([waiting], [dead], [dropped], [done], []),
        strict=True,
    ):
        assert await ids(past, state=state.value) == expected
        assert await ids(past, BOB, state=state.value, text="x") == expected


async def test_questions(database: Database, past: History) -> None:
    a = await ask(database, "alice", "operator", "which way?", asked=10)
    b = await ask(database, "bob", "alice", "what colour?", asked=20, state="answered")
    answer = json.dumps(["grün"], ensure_ascii=False)
    c = await ask(database, "bob", "operator", "and now?", asked=30, answer=answer)
    assert await asked(past) == [a, b, c]
    assert await asked(past, ALICE) == [a, b]
    assert await asked(past, BOB, limit=1) == [c]
    assert await asked(past, BOB, limit=1, before=c) == [b]
    assert await asked(past, after=a, to="operator") == [c]
    assert await asked(past, from_="bob", state="open") == [c]
    assert await asked(past, agent="alice") == [a, b]
    assert await asked(past, THE_MANAGER) == []
    assert await asked(past, since=20, until=30) == [b]
    assert await asked(past, text="grun") == [c]
    assert await asked(past, ALICE, text="grun") == []
    assert await asked(past, BOB, text="colour", until=30) == [b]
    [found] = await past.list_questions(THE_OPERATOR, {"state": "answered"}, 9)
    assert (found.asker, found.recipient, found.state) == ("bob", "alice", QuestionState.ANSWERED)


async def test_pages_of_questions_are_bounded_in_bytes(database: Database, past: History) -> None:
    for _ in range(5):
        await ask(database, "alice", "operator", "x" * (PAGE_BYTES // 4), answer='["y"]')
    assert await asked(past) == [3, 4, 5]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"since": 2**63}, "'since' is not valid"),
        ({"state": "nonsense"}, "'state' is not valid"),
        ({"text": "*"}, "There is nothing to search for"),
        ({"agent": 7}, "'agent' is not valid"),
        (
            {"nonsense": 1},
            "is not a valid filter of List(Messages|Questions). Use one of: to, from",
        ),
    ],
)
async def test_bad_filters(past: History, wanted: dict[str, Any], reason: str) -> None:
    for read in (past.list_messages, past.list_questions):
        with pytest.raises(InvalidArgument, match=reason):
            await read(THE_OPERATOR, wanted, 10)
        with pytest.raises(InvalidArgument, match="1001 is not a valid limit: use 1 to 1000"):
            await read(THE_OPERATOR, {}, 1001)


FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_read_that_takes_too_long_is_given_up(database: Database, past: History) -> None:
    with pytest.raises(LimitExceeded, match=r"took longer than 0.05 s and was stopped; search for"):
        await database.read(limited(lambda db: db.execute(FOR_EVER).fetchall(), 0.05))
    # The next one has all its time.
    message_id = await say(database, "alice", "bob", "x")
    assert await ids(past) == [message_id]
    count = f"{FOR_EVER.replace('FROM n)', 'FROM n WHERE i < 300000)')}"
    [(counted,)] = await database.read(lambda db: db.execute(count).fetchall())
    assert counted == 300_000


async def test_a_caller_of_many_reads_waits_only_for_itself(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read of another agent comes after the running one, before the waiting ones."""
    running, go = threading.Event(), threading.Event()
    order: list[str] = []

    def slow(db: sqlite3.Connection, *, party: str | None, **_: Any) -> list[Any]:
        running.set()
        go.wait(5)
        order.append(str(party))
        return []

    monkeypatch.setattr(pages, "messages", slow)
    past = History(database, frozenset)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(past.list_messages(ALICE, {}, 1))
        await asyncio.to_thread(running.wait, 5)
        tasks.create_task(past.list_messages(BOB, {}, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go.set()
    assert order.index("bob") <= 1


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(-1, 21), st.integers(-1, 21))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_a_clock_that_was_set_back_hides_nothing(
    tmp_path_factory: pytest.TempPathFactory, times: list[int], since: int, until: int
) -> None:
    db = schema.connect(tmp_path_factory.mktemp("span") / "broker.sqlite")
    try:
        db.execute("PRAGMA synchronous = OFF")
        for at in times:
            db.execute(
                "INSERT INTO message (sender, recipient, kind, queued, urgent, in_reply_to) "
                "VALUES ('a', 'b', 'message', ?, 0, 0)",
                (at,),
            )
        db.execute("DELETE FROM message WHERE id % 5 = 3")
        first, end = ids_in_range(db, since, until)
        within = {
            row[0]
            for row in db.execute(
                "SELECT id FROM message WHERE queued >= ? AND queued < ?", (since, until)
            )
        }
        assert all(first <= i < end for i in within)
        left = [at for i, at in enumerate(times, 1) if i % 5 != 3]
        if left == sorted(left) and times == sorted(times):
            assert len(within) == sum(1 for at in left if since <= at < until)
            exactly = db.execute(
                "SELECT count(*) FROM message WHERE id >= ? AND id < ?", (first, end)
            )
            assert tuple(exactly.fetchone()) == (len(within),)
    finally:
        db.close()


QUERIES: list[dict[str, Any]] = [
    {},
    {"to": "bob"},
    {"from": "bob"},
    {"kind": "x"},
    {"before": 7},
    {"agent": "bob"},
    {"since": 3, "until": 9},
    {"text": "word"},
    {"text": "word", "before": 7, "after": 2},
    {"text": "word", "since": 3},
]


async def plans(database: Database, *reads: Any) -> list[str]:
    """Return the query plan of each statement of `reads`."""
    found: list[str] = []

    def explain(db: sqlite3.Connection) -> None:
        statements: list[str] = []
        db.set_trace_callback(statements.append)
        for read in reads:
            read(db)
        db.set_trace_callback(None)
        for statement in statements:
            if statement.startswith("SELECT"):
                found.extend(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}"))

    await database.read(explain)
    return found


async def test_no_query_of_messages_grows_with_the_history(database: Database) -> None:
    """Each statement walks an index in the order it wants, without a scan or a sort."""
    await say(database, "alice", "bob", "a word", queued=5)
    page = partial(pages.messages, limit=10, leased=())
    reads = [
        partial(page, wanted=MESSAGE_FILTER.parse(wanted), party=party)
        for wanted in QUERIES
        for party in (None, "bob")
    ]
    reads += [
        partial(page, wanted=MessageFilter(state=state), party=None) for state in MessageState
    ]
    reads += [partial(page, wanted=MessageFilter(thread=1), party=who) for who in (None, "bob")]
    used = await plans(database, *reads)
    indexes = ("message_to", "message_from", "message_kind", "message_open", "message_dead")
    for index in (*indexes, "message_answers"):
        assert any(index in plan for plan in used), index
    # The search index is given the bounds of the ids, too.
    assert any(plan.startswith("SCAN message_search") and plan.endswith("<>") for plan in used)
    # Bounded by the page: the found ids themselves, and what is held now.
    bounded = (
        "SCAN found",
        "SCAN json_each",
        "SCAN (subquery",
        "SCAN message USING INDEX message_open",
        "SCAN message USING INDEX message_ending",
        "SCAN message USING INDEX message_dead",
        "SCAN message_search VIRTUAL TABLE INDEX",
        "SCAN main.message_search_config",  # a few rows
        "SCAN CONSTANT ROW",
        "SCAN answered",  # the thread itself
        "SCAN thread",
        "SCAN message_clock",  # one row for each time that the clock was set back
    )
    scans = {p for p in used if p.startswith("SCAN") and not p.startswith(bounded)}
    assert scans <= {"SCAN message"}, scans  # newest first by id, ended by the limit


async def test_questions_walk_indexes_too(database: Database) -> None:
    states = [QuestionFilter(state=state) for state in QuestionState]
    wanted = [QUESTION_FILTER.parse(w) for w in QUERIES if "kind" not in w]
    used = await plans(
        database,
        *(
            partial(pages.questions, wanted=one, limit=10, party=party)
            for one in [*wanted, *states]
            for party in (None, "bob")
        ),
    )
    for index in ("question_asker", "question_recipient"):
        assert any(index in plan for plan in used), index
    assert not [plan for plan in used if "TEMP B-TREE FOR ORDER BY" in plan and "RIGHT" in plan]


async def test_the_time_limit_is_the_history_s(
    past: History, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that would never end is stopped by the default time limit."""
    await say(database, "alice", "bob", "x")
    monkeypatch.setattr(pages, "messages", lambda db, **_: db.execute(FOR_EVER).fetchall())
    began = time.monotonic()
    with pytest.raises(LimitExceeded):
        await past.list_messages(THE_OPERATOR, {}, 10)
    assert time.monotonic() - began < 20
