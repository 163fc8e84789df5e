"""Hostile figures: names of models without end, and sums beyond 64 bits."""

from typing import Any

import pytest

from services.config import LedgerConfig, ModelPrice
from services.ledger.budgets import account
from services.ledger.requests import requests
from services.ledger.storage.sums import MAX_MODELS, MOST
from services.ledger.tests.conftest import DAY, DOLLAR, NOON, Room, turn
from services.ledger.turns import checks
from wire.errors import InvalidArgument
from wire.records.ledger import BudgetState

MOST_TOKENS: dict[str, Any] = dict.fromkeys(
    ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), 10**10
)


async def test_models_that_an_agent_invents_are_joined(room: Room) -> None:
    for number in range(3 * MAX_MODELS):
        room.settle(room.reserve(model=f"no-{number}"), outcome="failed", status=404)
        room.turns.record("alice", turn(number, model=f"no-{number}", tool_calls=1))
    for agent in ("alice", "bob"):
        room.spend(1, agent)
        room.turns.record(agent, turn(1000, model="claude-opus-4-5"))
    usage = {one.key: one for one in await room.requests.sum_usage({"by": "model"})}
    costs = {one.key: one for one in await room.turns.costs({"by": "model"})}
    assert len(usage) == len(costs) == MAX_MODELS + 1
    assert usage["claude-opus-4-5"].cost == costs["claude-opus-4-5"].cost == 2 * DOLLAR
    assert costs["claude-opus-4-5"].turns == 2
    assert usage["other"].requests == costs["other"].turns == 2 * MAX_MODELS + 1
    assert usage["other"].failed == usage["other"].requests
    assert sum(one.turns for one in costs.values()) == 3 * MAX_MODELS + 2


async def test_an_agent_that_invents_costs_hides_no_model_of_others(room: Room) -> None:
    for number in range(3 * MAX_MODELS):
        values = turn(number, model=f"dear-{number}", cost=checks.MOST_COST)
        room.turns.record("mallory", values)
    room.turns.record("alice", turn(1, model="cheap", cost=1))
    costs = {one.key: one for one in await room.turns.costs({"by": "model"})}
    assert costs["cheap"].cost == 1
    assert sum(one.cost for one in costs.values()) == 3 * MAX_MODELS * checks.MOST_COST + 1


@pytest.mark.parametrize("by", ["agent", "day", "model"])
async def test_sums_beyond_64_bits_are_told_as_the_most(room: Room, by: str) -> None:
    for number in range(20):
        room.turns.record("alice", turn(number, model="claude-opus-4-5"))
        room.settle(room.reserve())
    with room.database.write() as db:
        for table in ("turn", "request"):
            db.execute(
                f"UPDATE {table} SET cost = ?, input_tokens = ?, output_tokens = ?",
                (2**62 + 1, 2**58 + 1, 2**40 + 1),
            )
        db.execute("UPDATE turn SET ended = started + ?", (2**60,))
    [cost] = await room.turns.costs({"by": by})
    assert (cost.turns, cost.duration, cost.cost) == (20, MOST, MOST)
    assert (cost.input_tokens, cost.output_tokens) == (20 * (2**58 + 1), 20 * (2**40 + 1))
    [usage] = await room.requests.sum_usage({"by": by})
    assert (usage.requests, usage.cost, usage.failed) == (20, MOST, 0)
    assert (usage.input_tokens, usage.output_tokens) == (20 * (2**58 + 1), 20 * (2**40 + 1))


DEAR = LedgerConfig(prices={"gold": ModelPrice(input=10_000, output=10_000)})


@pytest.mark.parametrize("config", [DEAR])
async def test_an_account_counts_up_to_a_bound(room: Room) -> None:
    room.limit("hive", "hive", total=10**13, total_tokens=10**15)
    room.settle(room.reserve(model="gold"), web_searches=10**7, **MOST_TOKENS)
    spent = room.budget("hive", "hive", "total")
    assert (spent.spent_tokens, spent.state) == (4 * 10**10, BudgetState.EXHAUSTED)
    assert spent.spent > 10**13
    room.limit("hive", "hive", reset=True)
    with room.database.write() as db:
        db.execute("UPDATE account SET spent = ?, tokens = ?", (account.MOST - 1, account.MOST - 1))
    room.reopen()
    for _ in range(3):
        room.settle(room.reserve(model="gold"), **MOST_TOKENS)
        for period in ("day", "week", "total"):
            shown = room.budget("hive", "hive", period)
            assert (shown.spent, shown.spent_tokens) == (account.MOST, account.MOST)
    room.limit("hive", "hive", total=DOLLAR)
    assert room.budget("hive", "hive", "total").state is BudgetState.EXHAUSTED
    room.now += DAY
    assert room.budget("hive", "hive", "day").spent == 0


async def test_raises_of_a_budget_have_a_bound(room: Room) -> None:
    room.limit("agent", "alice", day=10**13)
    with room.database.write() as db:
        db.execute("UPDATE account SET raised = ?, offer = ?", (account.MOST - 1, account.MOST))
    room.reopen()
    known = next(one for one in room.budgets.accounts(room.now) if one.key.period == "day")
    change = room.budgets.answer(known, "more", ["more"], room.now, room.now)
    with room.database.write() as db:
        change.save(db)
    change.adopt()
    assert room.budget().raised == account.MOST


async def test_a_request_that_asks_for_too_much_is_lost_for_what_a_model_can_write(
    room: Room,
) -> None:
    room.reserve(output_tokens=2**31)
    assert room.budget().reserved_tokens == requests.MOST_OUTPUT
    await room.leave(":alice")
    assert room.budget("hive", "hive").spent == 25 * DOLLAR


@pytest.mark.parametrize("figures", [{"since": 2**63}, {"until": -(2**63) - 1}, {"before": 2**63}])
async def test_figures_beyond_64_bits_are_refused(room: Room, figures: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        await room.usage(**figures)
    with pytest.raises(InvalidArgument):
        await room.numbers(**figures)


async def test_the_longest_answers_pass_the_bus(room: Room) -> None:
    """Each model, tool and error is as long as it may be: an answer is far below 32 MiB."""
    tools = {f"{number:0128}": 2**32 for number in range(checks.MAX_TOOLS)}
    for number in range(3):
        room.turns.record(
            "alice",
            turn(number, NOON - DAY, model="m" * 128, error="\U0001f41d" * 500, tools=tools),
        )
    found = await room.turns.list_turns({}, 3)
    longest = max(len(repr(one).encode()) for one in found)
    assert longest * checks.MAX_LISTED < 32 * 2**20
