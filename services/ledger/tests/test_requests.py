"""Requests: reserved, settled, lost, corrected, and never counted twice."""

import asyncio
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from services.config import LedgerConfig
from services.ledger.requests import requests
from services.ledger.storage.database import MIGRATIONS
from services.ledger.tests.conftest import DAY, DOLLAR, HOUR, NOON, SECOND, Room, turn
from wire.errors import (
    BudgetExhausted,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from wire.records.ledger import Request, RequestOutcome


async def test_a_request_is_reserved_and_then_what_it_used(room: Room) -> None:
    number = room.reserve()
    before = room.budget()
    assert (before.spent, before.reserved, before.reserved_tokens) == (0, DOLLAR, 40_000)
    assert await room.usage() == [], "it has not ended"
    room.now += SECOND
    room.settle(
        number,
        status=200,
        model="claude-opus-4-5-20251101",
        input_tokens=10,
        output_tokens=20,
        cache_read_tokens=30,
        cache_write_tokens=40,
        first_byte=400,
        last_byte=900,
        sent=1000,
        received=2000,
    )
    [request] = await room.usage()
    assert request == Request(
        id=number,
        agent="alice",
        credential="default",
        model="claude-opus-4-5-20251101",
        outcome=RequestOutcome.DONE,
        started=NOON,
        ended=NOON + SECOND,
        status=200,
        input_tokens=10,
        output_tokens=20,
        cache_read_tokens=30,
        cache_write_tokens=40,
        cost=50 + 500 + 15 + 250,
        first_byte=400,
        last_byte=900,
        sent=1000,
        received=2000,
    )
    assert room.settled == [request]
    for kind, name in (("agent", "alice"), ("hive", "hive"), ("credential", "default")):
        for period in ("day", "week", "total"):
            after = room.budget(kind, name, period)
            assert (after.spent, after.spent_tokens, after.reserved) == (815, 100, 0)


async def test_a_lost_answer_leaves_nothing_reserved(room: Room) -> None:
    room.reserve(key="heard")
    room.reserve(key="lost")
    room.reopen()  # the ledger is killed before it answers
    room.requests.release("bob", "lost")
    assert room.budget().reserved == 2 * DOLLAR, "it is not his"
    for _ in range(2):
        room.requests.release("alice", "lost")
        room.requests.release("alice", "of-another-time")
    assert (room.budget().reserved, room.budget().spent) == (DOLLAR, 0)
    assert [one.outcome for one in await room.usage()] == [RequestOutcome.REFUSED]
    for key in ("", "x" * 65, "'"):
        with pytest.raises(InvalidArgument):
            room.requests.release("alice", key)


async def test_a_request_that_waits_is_released_before_it_reserves(room: Room) -> None:
    room.limit("agent", "alice", total=DOLLAR)
    first = room.reserve()
    values = {"credential": "default", "model": "claude-opus-4-5", "output_tokens": 40_000}
    values |= {"input_tokens": 0, "key": "slow"}
    waiting = asyncio.create_task(room.requests.reserve_when_free("alice", ":alice", values))
    await asyncio.sleep(0)
    room.requests.release("alice", "slow")
    room.settle(first)
    with pytest.raises(LimitExceeded):
        await waiting
    assert room.budget().reserved == 0


async def test_a_surcharge_of_a_credential_is_reserved_from_then_on(room: Room) -> None:
    room.settle(room.reserve(), surcharge=10)
    room.reserve()
    assert room.budget().reserved == DOLLAR * 11 // 10


async def test_settling_again_changes_nothing(room: Room) -> None:
    number = room.reserve()
    room.settle(number, output_tokens=10)
    room.settle(number, output_tokens=20)
    assert (room.budget().spent, len(room.settled)) == (250, 1)
    room.reopen()
    room.settle(number, output_tokens=20)
    assert room.budget().spent == 250


async def test_a_reservation_that_is_repeated_is_the_same(room: Room) -> None:
    first = room.reserve(key="a-1")
    assert room.reserve(key="a-1") == first
    room.reopen()
    assert room.reserve(key="a-1") == first
    assert room.budget().reserved == DOLLAR
    assert room.reserve("bob", key="a-1") != first
    assert room.reserve(key="a-2") != first
    room.settle(first)
    assert room.reserve(key="a-1") != first, "it has ended"


async def test_a_gateway_settles_its_own_requests_only(room: Room) -> None:
    number = room.reserve("alice")
    for who, wrong in (("bob", number), ("alice", number + 1), ("alice", 2**64 - 1)):
        with pytest.raises(NotFound, match=f"gateway of {who}"):
            room.settle(wrong, who)
    room.settle(number)
    with pytest.raises(NotFound):
        room.settle(number, "bob")


async def test_nobody_uses_the_credential_of_another_agent(room: Room) -> None:
    with pytest.raises(InvalidArgument, match="agent:bob"):
        room.reserve("alice", credential="agent:bob")
    room.reserve("bob", credential="agent:bob")
    with pytest.raises(InvalidArgument, match="credential"):
        room.reserve(credential="login")


@pytest.mark.parametrize(
    ("outcome", "used", "spent"),
    [
        ("failed", {}, 0),
        ("refused", {}, 0),
        ("broken", {}, DOLLAR),
        ("broken", {"input_tokens": 10, "output_tokens": 1}, 75),
        ("broken", {"cache_read_tokens": 10}, 5),
    ],
)
async def test_what_a_request_costs_that_did_not_end_well(
    room: Room, outcome: str, used: dict[str, int], spent: int
) -> None:
    room.requests.settle("alice", room.reserve(), {"outcome": outcome, **used})
    assert (room.budget().spent, room.budget().reserved) == (spent, 0)


async def test_what_is_not_valid_is_refused(room: Room) -> None:
    with pytest.raises(InvalidArgument, match="outcome lost"):
        room.settle(room.reserve(), outcome="lost")
    with pytest.raises(InvalidArgument, match="model"):
        room.reserve(model="a model")
    with pytest.raises(InvalidArgument, match="input_tokens"):
        room.reserve(input_tokens=10**12)
    with pytest.raises(InvalidArgument, match="limit"):
        await room.requests.list_usage({}, 0)


async def test_what_a_dead_gateway_has_reserved_counts_as_used(room: Room) -> None:
    lost = room.reserve()
    room.reserve("bob")
    await room.leave(":alice")
    [request] = await room.usage()
    assert (request.id, request.outcome, request.cost) == (lost, RequestOutcome.LOST, DOLLAR)
    assert (room.budget().spent, room.budget().reserved) == (DOLLAR, 0)
    hive = room.budget("hive", "hive")
    assert (hive.spent, hive.reserved) == (DOLLAR, DOLLAR)


async def test_a_gateway_that_is_back_corrects_what_was_lost(room: Room) -> None:
    lost = room.reserve()
    await room.leave(":alice")
    room.settle(lost, output_tokens=100)
    room.settle(lost, output_tokens=100)
    assert room.budget().spent == 2500
    [request] = await room.usage()
    assert (request.outcome, request.cost) == (RequestOutcome.DONE, 2500)


async def test_a_correction_does_not_reach_into_another_period(room: Room) -> None:
    lost = room.reserve()
    await room.leave(":alice")
    room.now += DAY
    room.spend(0.5)
    room.settle(lost, output_tokens=100)
    assert room.budget().spent == DOLLAR // 2
    assert room.budget(period="total").spent == DOLLAR // 2 + 2500


async def test_reservations_outlive_the_ledger(room: Room) -> None:
    kept = room.reserve()
    room.reopen()
    assert room.budget().reserved == DOLLAR
    room.settle(kept, output_tokens=10)
    assert (room.budget().reserved, room.budget().spent) == (0, 250)


async def test_a_gateway_that_died_while_the_ledger_was_away_has_lost_its_requests(
    room: Room,
) -> None:
    room.reserve()
    room.close()
    room.watch(":alice").set_result(None)
    room.open()
    await asyncio.sleep(0)
    assert (room.budget().reserved, room.budget().spent) == (0, DOLLAR)


async def test_gateways_of_an_earlier_bus_are_gone(room: Room) -> None:
    room.reserve()
    room.bus_id = "bus-2"
    room.reopen()
    assert (room.budget().reserved, room.budget().spent) == (0, DOLLAR)


async def test_a_full_disk_loses_nothing(room: Room) -> None:
    number = room.reserve()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(Unavailable):
            room.reserve()
        with pytest.raises(Unavailable):
            room.settle(number, output_tokens=10)
        await room.leave(":alice")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (room.budget().reserved, room.budget().spent) == (DOLLAR, 0)
    room.reserve("bob")
    assert (room.budget().reserved, room.budget().spent) == (0, DOLLAR), "lost after all"


async def test_a_full_disk_is_said_by_every_call_and_changes_nothing(room: Room) -> None:
    room.spend(0.01, "carol")
    number = room.reserve()
    lost = room.reserve("bob")
    before = content(room)
    calls: list[Callable[[], object]] = [
        room.reserve,
        lambda: room.settle(number, output_tokens=10, limited_until=NOON + HOUR),
        lambda: room.limit("agent", "alice", day=DOLLAR),
        lambda: room.turns.record("alice", turn()),
        lambda: room.hosts.check("alice", "example.org", 443, "", gateway=True),
        lambda: room.hosts.check("alice", "example.org", 443, "to read", gateway=False),
        lambda: room.hosts.report("alice", {"host": "a.org", "port": 443, "outcome": "failed"}),
        lambda: room.hosts.decide("alice", "a.org", 443, "once"),
        room.ledger.look_again,
    ]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        for call in calls:
            with pytest.raises(Unavailable, match=r"nothing was changed\. Check the disk"):
                call()
        await room.leave(":bob")
        assert content(room) == before
        assert await room.ledger.vacuum() == 0
        assert len(await room.turns.costs({})) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    room.settle(number, output_tokens=10)
    assert room.budget().spent == 250
    assert {one.id: one.outcome for one in await room.usage() if one.agent != "carol"} == {
        number: RequestOutcome.DONE,
        lost: RequestOutcome.LOST,
    }


def content(room: Room) -> list[object]:
    """Return what is on disk, and what the ledger says."""
    tables = ("turn", "request", "account", "allowance", "notice", "egress", "provider_limit")
    with room.database.look() as db:
        rows = [[tuple(row) for row in db.execute(f"SELECT * FROM {name}")] for name in tables]
    return [*rows, *room.ledger.list_budgets(), *room.ledger.list_limits()]


async def test_the_requests_of_an_agent_are_bounded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_UNDER_WAY", 2)
    first = room.reserve(output_tokens=0)
    room.reserve(output_tokens=0)
    with pytest.raises(LimitExceeded, match="under way"):
        room.reserve(output_tokens=0)
    room.reserve("bob", output_tokens=0)
    room.settle(first)
    room.reserve(output_tokens=0)


@pytest.mark.parametrize("config", [LedgerConfig(agent_requests_per_hour=2)])
async def test_the_requests_of_an_hour_are_bounded(room: Room) -> None:
    room.spend(0)
    room.spend(0)
    with pytest.raises(LimitExceeded, match="within an hour"):
        room.spend(0)
    room.spend(0, "bob")
    room.now += HOUR
    room.spend(0)


async def test_a_turn_of_an_agent_with_a_login_counts_for_its_own_budget(room: Room) -> None:
    values = turn(cost=DOLLAR, input_tokens=100, output_tokens=10, cache_read_tokens=60)
    room.turns.record("alice", values)
    room.turns.record("alice", values)
    assert (room.budget().spent, room.budget().spent_tokens) == (DOLLAR, 110)
    assert room.budget("hive", "hive").spent == 0, "an agent may report what it likes"
    [request] = await room.usage()
    assert (request.credential, request.cost, request.input_tokens) == ("login", DOLLAR, 40)
    room.reopen()
    assert room.budget().spent == DOLLAR


async def test_a_turn_through_the_gateway_is_not_counted_twice(room: Room) -> None:
    began = room.now
    room.spend(1)
    room.now += SECOND
    room.turns.record("alice", turn(1, began, cost=DOLLAR))
    assert room.budget().spent == DOLLAR
    under_way = room.reserve()
    room.now += 2 * SECOND
    room.turns.record("alice", turn(2, room.now - SECOND, cost=DOLLAR))
    room.settle(under_way, output_tokens=40_000)
    assert room.budget().spent == 2 * DOLLAR
    room.reopen()
    room.turns.record("alice", turn(3, began, cost=DOLLAR))
    assert room.budget().spent == 2 * DOLLAR


async def test_usage_is_filtered_and_paged(room: Room) -> None:
    for agent in ("alice", "bob", "alice"):
        room.spend(0.01, agent)
        room.now += SECOND
    assert [one.agent for one in await room.usage()] == ["alice", "bob", "alice"]
    assert [one.id for one in await room.usage(agent="alice")] == [3, 1]
    assert [one.id for one in await room.usage(before=3)] == [2, 1]
    assert [one.id for one in await room.usage(since=NOON + SECOND, until=NOON + 2 * SECOND)] == [2]
    assert await room.usage(credential="scripted") == []


@pytest.mark.parametrize("config", [LedgerConfig(max_requests_per_agent=2, keep_days=30)])
async def test_old_requests_are_deleted_and_open_ones_stay(room: Room) -> None:
    kept = room.reserve("bob")
    for _ in range(4):
        room.spend(0.01)
    assert await room.ledger.vacuum() == 2
    room.now += 31 * DAY
    assert await room.ledger.vacuum() == 2
    assert room.budget(period="total").spent == DOLLAR // 25, "the account goes on"
    room.settle(kept, "bob")


async def test_amounts_of_an_exhausted_budget_are_said(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    until = datetime.fromtimestamp(room.budget().until / 1e6)
    with pytest.raises(BudgetExhausted) as caught:
        room.reserve()
    assert str(caught.value) == (
        f"The budget of alice for a day is used up until {until:%Y-%m-%d %H:%M} ($1.00 of $1.00). "
        "The operator can raise it: hivectl budget alice --day DOLLARS"
    )
    assert room.refused == [("the budget of alice for a day", "alice")]


async def test_a_store_of_the_second_version_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.row_factory = sqlite3.Row
        old.executescript("".join(MIGRATIONS[:2]) + "PRAGMA user_version = 2;")
        values = [
            (agent, NOON, number, NOON - number * DAY, NOON - number * DAY + SECOND, number * 1000)
            for agent in ("alice", "bob")
            for number in range(40)
        ]
        old.executemany(
            "INSERT INTO turn (agent, recorded, turn, started, ended, cost, outcome, error, model, "
            "session, first_request, first_token, input_tokens, output_tokens, cache_read_tokens, "
            "cache_write_tokens, context_tokens, tool_calls, tools, denied, open_threads, "
            "open_reminders) VALUES (?, ?, ?, ?, ?, ?, 'done', 'why', 'opus', 's-1', 1, 2, "
            "10000000000, 10000000000, 3, 4, 5, 6, '{\"Bash\": 6}', 7, 8, 9)",
            values,
        )
        old.commit()
        before = [dict(row) for row in old.execute("SELECT * FROM turn ORDER BY id")]
    room = Room(path, LedgerConfig())
    with room.database.look() as db:
        assert [dict(row) for row in db.execute("SELECT * FROM turn ORDER BY id")] == before
    costs = {one.key: (one.turns, one.cost) for one in await room.turns.costs({})}
    assert costs == {"alice": (40, 780_000), "bob": (40, 780_000)}
    assert room.budget("hive", "hive", "total").spent == 0
    room.spend(1)
    assert room.budget().spent == DOLLAR
    room.close()
    with closing(sqlite3.connect(path.with_name(f"{path.name}.v2"))) as kept:
        assert kept.execute("SELECT count(*) FROM turn").fetchone() == (80,)


async def test_requests_are_summed_up_by_each_key(room: Room) -> None:
    room.spend(1)
    room.spend(2, "bob", model="of-no-price")
    room.settle(room.reserve(), outcome="failed", status=500)
    room.reserve()
    alice, bob = await room.requests.sum_usage({})
    assert (alice.key, alice.requests, alice.failed) == ("alice", 2, 1)
    assert (alice.cost, alice.output_tokens, alice.unknown_price) == (DOLLAR, 40_000, False)
    assert (bob.key, bob.unknown_price) == ("bob", True)
    for by, keys in (
        ("model", ["claude-opus-4-5", "of-no-price"]),
        ("credential", ["default"]),
        ("day", [datetime.fromtimestamp(NOON / SECOND).date().isoformat()]),
    ):
        sums = await room.requests.sum_usage({"by": by})
        assert [one.key for one in sums] == keys
        assert sum(one.requests for one in sums) == 3
    assert await room.requests.sum_usage({"agent": "carol"}) == []
    assert await room.requests.sum_usage({"since": NOON + 1}) == []
    with pytest.raises(InvalidArgument):
        await room.requests.sum_usage({"by": "week"})


WANTED = {"credential": "default", "model": "claude-opus-4-5", "output_tokens": 40_000}


def asking(room: Room, agent: str = "alice") -> "asyncio.Task[int]":
    wanted = room.requests.reserve_when_free(agent, f":{agent}", {**WANTED, "input_tokens": 0})
    return asyncio.create_task(wanted)


async def test_a_request_waits_until_another_one_has_ended(room: Room) -> None:
    room.limit("agent", "alice", day=2 * DOLLAR - 1)
    first = room.reserve()
    waiting = asking(room)
    await asyncio.sleep(0)
    room.settle(first, output_tokens=10)
    async with asyncio.timeout(5):
        assert await waiting == first + 1


async def test_a_request_waits_for_another_limit(room: Room) -> None:
    room.limit("agent", "alice", day=2 * DOLLAR - 1)
    room.reserve()
    waiting = asking(room)
    await asyncio.sleep(0)
    room.limit("agent", "alice", day=2 * DOLLAR)
    async with asyncio.timeout(5):
        await waiting


async def test_who_waits_hears_that_the_budget_is_used_up(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    first = room.reserve()
    waiting = asking(room)
    await asyncio.sleep(0)
    room.settle(first, output_tokens=40_000)
    with pytest.raises(BudgetExhausted):
        await waiting


async def test_the_wait_ends(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(requests, "MAX_WAITING", 1)
    room.limit("agent", "alice", day=DOLLAR)
    room.reserve()
    waiting = asking(room)
    await asyncio.sleep(0)
    with pytest.raises(LimitExceeded, match="under way"):
        await asking(room)
    assert not waiting.done(), "only so many wait"
    with pytest.raises(LimitExceeded, match="under way"):
        await waiting


async def test_many_that_wait_are_reserved_one_after_the_other(room: Room) -> None:
    room.limit("agent", "alice", day=2 * DOLLAR - 1)
    under_way = room.reserve()
    waiting = {asking(room) for _ in range(5)}
    await asyncio.sleep(0)
    while waiting:
        room.settle(under_way)
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=2)
        [task] = done
        under_way = task.result()
