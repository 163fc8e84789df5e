"""Budgets, and requests to the model API: as tables, as JSON, and as they are set."""

import signal
import time
from typing import Any

import click
import pytest

from hivectl.arguments.types import dollars, tokens
from hivectl.exit_codes import Exit
from hivectl.output.formats import iso_time, short_time
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from hivectl.tests.test_terminal import terminal
from hivectl.tests.test_turns import STARTED, words
from wire.errors import Unavailable
from wire.records import to_dict
from wire.records.ledger import (
    Budget,
    BudgetKind,
    BudgetLimits,
    BudgetPeriod,
    BudgetState,
    ProviderLimit,
    Request,
    RequestOutcome,
    UsageFilter,
    UsageKey,
    UsageSum,
    UsageSumFilter,
)


def budget(kind: BudgetKind, name: str, period: BudgetPeriod, **values: Any) -> Budget:
    return Budget(kind, name, period, since=STARTED, until=STARTED + 1_000_000)._replace(**values)


ALICE = budget(
    *(BudgetKind.AGENT, "alice", BudgetPeriod.DAY),
    limit=5_000_000,
    spent=4_100_000,
    spent_tokens=12_345,
    state=BudgetState.WARNED,
)
HIVE = budget(
    *(BudgetKind.HIVE, "hive", BudgetPeriod.WEEK),
    limit_tokens=2_000_000,
    spent_tokens=2_000_000,
    spent=250_000,
    state=BudgetState.EXHAUSTED,
    unknown_price=True,
    question=12,
)
NO_LIMIT = budget(BudgetKind.AGENT, "alice", BudgetPeriod.TOTAL, spent=9_000_000, until=0)


async def test_budgets_with_a_limit_are_a_table(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.budgets = [HIVE, ALICE, NO_LIMIT]
    ran = await hivectl("budget")
    head, first, second = ran.out.splitlines()
    assert words(head) == "SPENT LIMIT TOKENS LIMIT USED STATE PERIOD FOR"
    assert words(first) == "$0.2500? - 2.0M 2.0M 100 % exhausted week hive"
    assert words(second) == "$4.10 $5.00 12.3k - 82 % warned day alice"
    assert "`hivectl answer 12` answers the question about " in ran.err
    assert "?: the price of a model is not known" in ran.err
    one = await hivectl("budget", "alice")
    assert [line.split()[-1] for line in one.out.splitlines()[1:]] == ["alice", "alice"]
    assert words(one.out.splitlines()[2]) == "$9.00 - 0 - - ok total alice"
    hive.ledger.budgets = []
    assert (await hivectl("budget")).out.startswith("no budgets yet; ")
    assert (await hivectl("budget", "--credential", "default")).out.startswith("nothing was spent")


async def test_budgets_for_programs(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.budgets = [ALICE]
    assert (await hivectl("budget", "--json")).json == [
        {
            "kind": "agent",
            "name": "alice",
            "period": "day",
            "limit": 5.0,
            "limit_tokens": None,
            "raised": 0.0,
            "raised_tokens": 0,
            "spent": 4.1,
            "spent_tokens": 12_345,
            "reserved": 0.0,
            "reserved_tokens": 0,
            "since": "2023-11-14T22:13:20.000000Z",
            "until": "2023-11-14T22:13:21.000000Z",
            "lifted_until": None,
            "state": "warned",
            "unknown_price": False,
            "question": None,
        }
    ]


async def test_limits_are_set(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.budgets = [ALICE]
    limits = ("--day", "5", "--week", "20.50", "--total", "none", "--day-tokens", "2M")
    assert (await hivectl("budget", "alice", *limits)).code == Exit.OK
    await hivectl("budget", "--hive", "--week-tokens", "500k", "--total-tokens", "none")
    await hivectl("budget", "--credential", "agent:alice", "--reset")
    assert hive.ledger.calls == [
        ("budget", "agent", "alice", BudgetLimits(5_000_000, 20_500_000, 0, 2_000_000)),
        ("budget", "hive", "hive", BudgetLimits(week_tokens=500_000, total_tokens=0)),
        ("budget", "credential", "agent:alice", BudgetLimits(reset=True)),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--day", "5"],
        ["--reset"],
        ["alice", "--hive"],
        ["alice", "--credential", "default", "--day", "5"],
        ["Alice", "--day", "5"],
        ["alice", "--day", "0"],
        ["alice", "--day", "-5"],
        ["alice", "--day", "five"],
        ["alice", "--day", "1.1234567"],
        ["alice", "--day", "10000000.01"],
        ["alice", "--day-tokens", "1.5M"],
    ],
)
async def test_a_wrong_budget_changes_nothing(
    hive: FakeHive, hivectl: Hivectl, arguments: list[str]
) -> None:
    assert (await hivectl("budget", *arguments)).code == Exit.USAGE
    assert hive.ledger.calls == []


@pytest.mark.parametrize(
    ("typed", "expected"),
    [("5", 5_000_000), ("$2.5", 2_500_000), ("0.000001", 1), ("none", 0)],
)
def test_dollars(typed: str, expected: int) -> None:
    assert dollars(typed) == expected


@pytest.mark.parametrize(
    ("typed", "expected"), [("5", 5), ("5k", 5000), ("1G", 10**9), ("none", 0)]
)
def test_tokens(typed: str, expected: int) -> None:
    assert tokens(typed) == expected


@pytest.mark.parametrize("typed", ["", "0", "0k", "9" * 17, "1e3", "\u0663", "10000000G"])
def test_what_is_not_a_number_of_tokens(typed: str) -> None:
    with pytest.raises(click.BadParameter):
        tokens(typed)


def request(number: int, **values: Any) -> Request:
    base = Request(
        *(number, "alice", "default", "opus", RequestOutcome.DONE, STARTED, STARTED + 2_000_000),
        status=200,
        input_tokens=1000,
        output_tokens=50,
        cache_read_tokens=9000,
        cost=250_000,
        first_byte=500_000,
        last_byte=2_000_000,
    )
    return base._replace(**values)


async def test_requests_are_a_table_with_the_newest_last(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.requests = [
        request(2, outcome=RequestOutcome.LOST, status=0, first_byte=0, last_byte=0, model=""),
        request(1, unknown_price=True),
    ]
    head, first, second = (await hivectl("usage", "alice")).out.splitlines()
    assert words(head) == "ENDED AGENT READ WROTE COST FIRST TOOK HTTP END MODEL"
    assert words(first) == "2023-11-14 alice 10.0k 50 $0.2500? 0.5s 2.0s 200 done opus"
    assert words(second) == "2023-11-14 alice 10.0k 50 $0.2500 - - - lost -"
    arguments = ("--credential", "default", "--since", "2023-11-14", "--limit", "5")
    [newest, *_] = (await hivectl("usage", *arguments, "--before", "9", "--json")).json
    assert (newest["id"], newest["first_byte_seconds"], newest["cost"]) == (1, 0.5, 0.25)
    day = STARTED // 86_400_000_000 * 86_400_000_000
    assert hive.ledger.calls == [
        ("usage", UsageFilter("alice"), 20),
        ("usage", UsageFilter(None, "default", day, None, 9), 5),
    ]
    hive.ledger.requests = []
    assert (await hivectl("usage")).out == "no requests are recorded\n"


async def test_requests_are_summed_up(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.usage_sums = [
        UsageSum("agent:alice", 3, 1, 1000, 50, 9000, 0, 1_500_000),
        UsageSum("default", 1, cost=250_000, unknown_price=True),
    ]
    head, first, second = (await hivectl("usage", "--by", "credential")).out.splitlines()
    assert words(head) == "REQUESTS FAILED READ CACHED WROTE COST CREDENTIAL"
    assert words(first) == "3 1 10.0k 9.0k 50 $1.50 agent:alice"
    assert words(second) == "1 0 0 0 0 $0.2500? default"
    [one, _] = (await hivectl("usage", "alice", "--by", "day", "--json")).json
    assert (one["day"], one["requests"], one["cost"]) == ("agent:alice", 3, 1.5)
    assert hive.ledger.calls == [
        ("sum", UsageSumFilter(UsageKey.CREDENTIAL)),
        ("sum", UsageSumFilter(UsageKey.DAY, "alice")),
    ]
    hive.ledger.usage_sums = []
    assert (await hivectl("usage", "--by", "day")).out == "no requests are recorded\n"


async def test_the_status_of_an_agent_has_its_budgets(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.budgets = [ALICE, HIVE, NO_LIMIT]
    ran = await hivectl("status", "alice")
    assert "budget: $4.10 of $5.00 (day)\n" in ran.out
    assert "budget:" not in (await hivectl("status", "bob-2")).out
    shown = (await hivectl("status", "alice", "--json")).json["budgets"]
    assert [b["limit"] for b in shown] == [5.0]
    hive.ledger.error = Unavailable("hive-ledger.service is stopped.")
    assert (await hivectl("status", "alice", "--json")).json["budgets"] is None


async def test_hostile_words_do_not_steer_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.requests = [request(1, model=HOSTILE)]
    hive.ledger.budgets = [ALICE._replace(name=HOSTILE)]
    for command in (["usage"], ["budget"]):
        for extra in ([], ["--json"]):
            ran = await hivectl(*command, *extra)
            assert "evil" in ran.out
            assert_harmless(ran.out)
            assert_indented(ran.out)


async def test_changes_are_followed(hive: FakeHive, environment: dict[str, str]) -> None:
    hive.ledger.budgets = [ALICE, NO_LIMIT]
    options: dict[str, str] = {"COLUMNS": "100", "NO_COLOR": "1"}
    async with terminal(environment, "budget", "-f", **options) as shown:
        await shown.shows("alice, day: $4.10 of $5.00 (82 %), warned")
        hive.ledger.BudgetChanged(to_dict(NO_LIMIT))
        hive.ledger.BudgetChanged(to_dict(HIVE))
        await shown.shows("hive, week: 2.0M of 2.0M tokens (100 %), exhausted")
        shown.process.send_signal(signal.SIGINT)
        code, text = await shown.end()
    assert code == Exit.INTERRUPTED
    assert "total" not in text
    async with terminal(environment, "budget", "alice", "-f", "--json", **options) as shown:
        await shown.shows('"period": "total"')
        hive.ledger.BudgetChanged(to_dict(HIVE))
        hive.ledger.BudgetChanged(to_dict(ALICE._replace(spent=5_000_000)))
        await shown.shows('"spent": 5.0')
        shown.process.send_signal(signal.SIGINT)
        _, text = await shown.end()
    assert '"hive"' not in text


@pytest.mark.parametrize("columns", [80, 132])
async def test_tables_fit_the_terminal(
    hive: FakeHive, environment: dict[str, str], columns: int
) -> None:
    hive.ledger.budgets = [
        ALICE._replace(limit=9 * 10**9, spent=8 * 10**9, name="a" * 40, state=BudgetState.EXHAUSTED)
    ]
    hive.ledger.requests = [request(1, cost=10**9, model="m" * 100)]
    for command in (["budget"], ["usage"]):
        async with terminal(environment, *command, COLUMNS=str(columns), NO_COLOR="1") as shown:
            code, text = await shown.end()
        assert code == 0
        assert max(map(len, text.splitlines())) <= columns, text


async def test_without_a_ledger_it_says_so(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.error = Unavailable("hive-ledger.service is stopped.")
    assert (await hivectl("budget")).code == Exit.UNAVAILABLE


async def test_a_mistyped_agent_is_noticed(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("budget", "alicia")
    assert (ran.code, "There is no agent 'alicia'" in ran.err) == (Exit.NOT_FOUND, True)
    hive.lifecycle.add("bob")
    for command in ("usage", "usage --by day", "usage --limits", "cost", "egress"):
        verb, *options = command.split()
        ran = await hivectl(verb, "alicia", *options)
        assert (ran.code, ran.out) == (Exit.NOT_FOUND, ""), command
        assert ran.err == (
            "hivectl: There is no agent 'alicia'; `hivectl list` shows all. Did you mean alice?\n"
        )
        assert (await hivectl(verb, "bob", *options)).code == Exit.OK, command
    ran = await hivectl("budget", "alicia", "--day", "5")
    assert "its budget holds once it is spawned" in ran.err


async def test_the_limits_of_the_provider_are_shown(hive: FakeHive, hivectl: Hivectl) -> None:
    soon = int(time.time() * 1_000_000) + 3_600_000_000
    hive.ledger.limits = [
        ProviderLimit("default", soon, 0, 12_345, soon, STARTED, ("alice", "bob")),
        ProviderLimit("agent:carol", STARTED, agents=("carol",)),
    ]
    ran = await hivectl("usage", "--limits")
    head, first, second = ran.out.splitlines()
    assert words(head) == "CREDENTIAL REQUESTS TOKENS UNTIL STATE AGENTS"
    assert words(first) == f"default 0 12.3k {short_time(soon)} limited alice, bob"
    assert words(second) == "agent:carol - - - ok carol"
    assert (await hivectl("usage", "bob", "--limits", "--json")).json == [
        {
            "credential": "default",
            "limited_until": iso_time(soon),
            "remaining_requests": 0,
            "remaining_tokens": 12_345,
            "remaining_until": iso_time(soon),
            "updated": "2023-11-14T22:13:20.000000Z",
            "agents": ["alice", "bob"],
        }
    ]
    carols = await hivectl("usage", "--limits", "--credential", "agent:carol")
    assert len(carols.out.splitlines()) == 2
    hive.lifecycle.add("dave")
    ran = await hivectl("usage", "dave", "--limits")
    assert ran.out.startswith("the provider has not reported any")
    assert (await hivectl("usage", "--limits", "--by", "day")).code == Exit.USAGE
