"""Turns that are recorded, listed, summed up and deleted."""

import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.config import LedgerConfig
from services.ledger.storage import database as store
from services.ledger.storage.database import Database
from services.ledger.tests.conftest import DAY, DOLLAR, HOUR, NOON, SECOND, Room, turn
from wire.errors import CorruptStore, InvalidArgument, LimitExceeded, Unavailable
from wire.records.ledger import Cost


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


async def test_everything_of_a_turn_is_kept(room: Room) -> None:
    values = turn(
        7,
        error="it broke",
        model="claude-opus-4-1",
        session="0b9c-1",
        first_request=40_000,
        first_token=900_000,
        input_tokens=10,
        output_tokens=20,
        cache_read_tokens=30,
        cache_write_tokens=40,
        context_tokens=50,
        cost=12_345,
        tool_calls=3,
        tools={"Bash": 2, "mcp__hive__send": 1},
        denied=6,
        open_threads=4,
        open_reminders=5,
    )
    room.turns.record("alice", values)
    room.reopen()
    [found] = await room.turns.list_turns({}, 10)
    assert found._asdict() == {**values, "agent": "alice", "id": 1}
    assert found.duration == SECOND


async def test_a_turn_is_recorded_once_and_stays_as_it_was(room: Room) -> None:
    room.turns.record("alice", turn(1, cost=5))
    room.turns.record("alice", turn(1, cost=0))
    room.turns.record("bob", turn(1, cost=7))
    room.turns.record("alice", turn(1, started=NOON, cost=11))  # its numbers began anew
    assert sorted(t.cost for t in await room.turns.list_turns({}, 10)) == [5, 7, 11]
    assert [(heard.agent, heard.cost) for heard in room.heard] == [
        ("alice", 5),
        ("bob", 7),
        ("alice", 11),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ended": NOON - HOUR},
        {"ended": NOON - 60 * SECOND + 8 * DAY},
        {"started": NOON + 2 * DAY, "ended": NOON + 2 * DAY},
        {"started": -1},
        {"outcome": ""},
        {"outcome": "a sentence"},
        {"error": "x" * 501},
        {"model": "a b"},
        {"session": "x" * 65},
        {"cost": 10**10 + 1},
        {"cost": -1},
        {"input_tokens": -1},
        {"input_tokens": 10**10 + 1},
        {"turn": 2**63},
        {"tools": {"a b": 1}},
        {"tools": {"": 1}},
        {"tools": {f"t{n}": 1 for n in range(65)}},
        {"tools": {"t": 2**32 + 1}},
        {"agent": "bob"},
        {"id": 9},
        {"unknown": 1},
        {"cost": "12"},
    ],
)
async def test_what_is_not_a_turn_is_refused(room: Room, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        room.turns.record("alice", {**turn(), **wrong})
    assert await room.numbers() == []


async def test_a_turn_that_would_be_deleted_is_not_recorded(room: Room) -> None:
    room.turns.record("alice", turn(1, started=NOON - 91 * DAY))
    assert await room.numbers() == []


async def test_filters_and_pages(room: Room) -> None:
    for number in range(1, 6):
        name = "alice" if number % 2 else "bob"
        room.turns.record(name, turn(number, started=NOON - (10 - number) * HOUR))
    assert [n for _, n in await room.numbers()] == [5, 4, 3, 2, 1]
    assert [n for _, n in await room.numbers(agent="bob")] == [4, 2]
    assert [n for _, n in await room.numbers(since=NOON - 7 * HOUR)] == [5, 4, 3]
    assert [n for _, n in await room.numbers(until=NOON - 8 * HOUR)] == [1]
    first = await room.turns.list_turns({}, 2)
    assert [n for _, n in await room.numbers(before=first[-1].id)] == [3, 2, 1]
    for wrong in ({"agent": "B b"}, {"limit": 3}):
        with pytest.raises(InvalidArgument):
            await room.numbers(**wrong)
    for limit in (0, 1001):
        with pytest.raises(InvalidArgument, match="1 to 1000"):
            await room.turns.list_turns({}, limit)


async def test_costs_by_each_key(room: Room, berlin: None) -> None:
    late = NOON + 11 * HOUR - DAY  # 23:00 UTC, in Berlin the next day already
    room.turns.record("alice", turn(1, late, model="opus", cost=1, input_tokens=10))
    room.turns.record("alice", turn(2, late - 2 * HOUR, model="haiku", cost=2, output_tokens=20))
    room.turns.record("bob", turn(3, NOON - HOUR, model="opus", cost=4, cache_read_tokens=30))
    room.turns.record("bob", turn(4, NOON - HOUR, cost=8, cache_write_tokens=40))

    async def sums(**filter: Any) -> dict[str, int]:
        return {cost.key: cost.cost for cost in await room.turns.costs(filter)}

    assert await sums() == {"alice": 3, "bob": 12}
    assert await sums(by="day") == {"2025-11-28": 2, "2025-11-29": 13}
    assert await sums(by="model") == {"": 8, "haiku": 2, "opus": 5}
    assert await sums(by="model", agent="alice") == {"haiku": 2, "opus": 1}
    assert await sums(since=NOON - 2 * HOUR) == {"bob": 12}
    assert await sums(until=NOON - 2 * HOUR) == {"alice": 3}
    [cost] = await room.turns.costs({"agent": "bob"})
    assert cost == Cost("bob", 2, 2 * SECOND, 70, 0, 30, 40, 12)
    with pytest.raises(InvalidArgument, match="by"):
        await sums(by="week")


async def test_costs_are_those_of_requests_whatever_the_turns_report(room: Room) -> None:
    room.spend(1)
    room.settle(room.reserve(model="unheard-of", output_tokens=10), output_tokens=10)
    room.reserve()  # under way: it has cost nothing yet
    room.turns.record("alice", turn(1, NOON, ended=NOON + SECOND, cost=7, input_tokens=9))
    [cost] = await room.turns.costs({"since": NOON - DAY})
    [used] = await room.requests.sum_usage({})
    assert (cost.turns, cost.duration, cost.unknown_price) == (1, SECOND, True)
    assert (cost.cost, cost.output_tokens) == (used.cost, used.output_tokens)
    assert (cost.cost > DOLLAR, cost.input_tokens) == (True, 0)
    by_model = {one.key: one.turns for one in await room.turns.costs({"by": "model"})}
    assert by_model == {"": 1, "claude-opus-4-5": 0, "unheard-of": 0}


async def test_a_turn_with_a_login_is_told_as_a_request(room: Room) -> None:
    room.turns.record("alice", turn(1, cost=5, input_tokens=8, cache_read_tokens=3))
    [request] = await room.requests.list_usage({}, 10)
    assert room.settled == [request]
    assert (request.credential, request.cost, request.input_tokens) == ("login", 5, 5)
    [cost] = await room.turns.costs({})
    assert (cost.turns, cost.cost, cost.input_tokens) == (1, 5, 8)


@pytest.mark.parametrize("config", [LedgerConfig(agent_turns_per_hour=2)])
async def test_an_agent_can_record_so_many_turns_an_hour(room: Room) -> None:
    for number in (1, 2):
        room.turns.record("alice", turn(number))
        room.now += 600 * SECOND
    with pytest.raises(LimitExceeded, match=r"agent_turns_per_hour.*Try again in 2400 s"):
        room.turns.record("alice", turn(3))
    room.turns.record("alice", turn(2))  # it is there already
    room.turns.record("bob", turn(3))
    room.reopen()
    with pytest.raises(LimitExceeded):
        room.turns.record("alice", turn(3))
    room.now += 2400 * SECOND
    room.turns.record("alice", turn(3))
    room.now -= DAY  # the clock is set back: that must not refuse turns for a day
    room.turns.record("alice", turn(4))
    assert [n for name, n in await room.numbers() if name == "alice"] == [4, 3, 2, 1]


@pytest.mark.parametrize("config", [LedgerConfig(max_turns_per_agent=3, keep_days=30)])
async def test_old_turns_and_too_many_of_one_agent_are_deleted(room: Room) -> None:
    room.turns.record("bob", turn(1, started=NOON - 29 * DAY))
    room.turns.record("bob", turn(2))
    for number in range(5):
        room.turns.record("alice", turn(number))
    room.now += 2 * DAY
    assert await room.ledger.vacuum() == 3
    assert await room.numbers() == [("alice", 4), ("alice", 3), ("alice", 2), ("bob", 2)]
    assert await room.ledger.vacuum() == 0
    room.turns.record("alice", turn(9))
    assert (await room.turns.list_turns({}, 1))[0].id == 8, "an id is never used again"


async def test_more_than_a_batch_is_deleted(room: Room) -> None:
    for number in range(store.BATCH + 10):
        room.turns.record("alice", turn(number))
    room.now += 100 * DAY
    assert await room.ledger.vacuum() == store.BATCH + 10


async def test_a_read_that_takes_too_long_ends(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2000):
        room.turns.record("alice", turn(number))
    monkeypatch.setattr(store, "READ_SECONDS", -1.0)
    with pytest.raises(LimitExceeded, match="shorter time"):
        await room.turns.costs({})
    monkeypatch.undo()
    assert len(await room.turns.costs({})) == 1


async def test_a_full_disk_is_said_and_nothing_is_recorded(room: Room) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(Unavailable, match="nothing was changed"):
            room.turns.record("alice", turn())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert room.heard == []
    room.turns.record("alice", turn())
    assert await room.numbers() == [("alice", 1)]


def test_a_store_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(CorruptStore, match="another program"):
        Database(path)
    assert path.read_bytes() == before


async def test_a_store_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(Path(__file__).with_name("version1.sql").read_text())
    room = Room(path, LedgerConfig())
    [kept] = await room.turns.list_turns({}, 10)
    assert (kept.id, kept.turn, kept.cost, kept.tools) == (41, 7, 12_345, {"Bash": 3})
    assert (kept.denied, kept.open_threads, kept.open_reminders) == (0, 4, 5)
    [cost] = await room.turns.costs({})
    assert cost == Cost("alice", 1, SECOND, 70, 20, 30, 40, 12_345), "it stays in the costs"
    room.turns.record("alice", turn(8, denied=2))
    assert [found.denied for found in await room.turns.list_turns({}, 10)] == [2, 0]
    room.close()
