"""Past turns and their costs, as tables and as JSON."""

import re
import time
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.output.formats import count, money, span
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from hivectl.tests.test_terminal import terminal
from wire.errors import Unavailable
from wire.records.ledger import Cost, CostFilter, CostKey, Turn, TurnFilter

STARTED = 1_700_000_000_000_000


def turn(number: int, **more: Any) -> Turn:
    base = Turn(
        turn=number,
        started=STARTED,
        ended=STARTED + 65_000_000,
        outcome="done",
        id=100 + number,
        agent="alice",
    )
    return base._replace(**more)


def words(line: str) -> str:
    """Return a line with single spaces."""
    return " ".join(line.split())


async def test_turns_are_a_table_with_the_newest_last(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.turns = [
        turn(
            1,
            model="opus",
            cost=12_345,
            input_tokens=12_345,
            output_tokens=950,
            tool_calls=3,
            denied=2,
        ),
        turn(2, outcome="failed", error="it broke\nbadly", model="opus"),
        turn(3, agent="bob-2"),
    ]
    head, first, second, error = (await hivectl("turns", "alice")).out.splitlines()
    assert words(head) == "TURN STARTED TOOK OUTCOME READ WROTE COST TOOLS DENY MODEL"
    assert words(first) == "1 2023-11-14 1m05s done 12.3k 950 $0.0123 3 2 opus"
    assert second.split()[:4] == ["2", "2023-11-14", "1m05s", "failed"]
    assert error.strip() == "it broke badly"
    assert error.index("it broke") == head.index("MODEL")
    assert hive.ledger.asked == [(TurnFilter(agent="alice"), 20)]


async def test_turns_for_programs(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.turns = [turn(1, cost=250_000, first_token=500_000, tools={"Bash": 2}, denied=1)]
    [found] = (await hivectl("turns", "alice", "--json")).json
    assert found == {
        "id": 101,
        "agent": "alice",
        "turn": 1,
        "started": "2023-11-14T22:13:20.000000Z",
        "ended": "2023-11-14T22:14:25.000000Z",
        "seconds": 65.0,
        "outcome": "done",
        "error": None,
        "model": None,
        "session": None,
        "first_request_seconds": None,
        "first_token_seconds": 0.5,
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "context_tokens": 0,
        "cost": 0.25,
        "tool_calls": 0,
        "tools": {"Bash": 2},
        "denied": 1,
        "open_threads": 0,
        "open_reminders": 0,
    }


async def test_turns_of_nobody_name_the_agent_that_was_meant(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.ledger.turns = []
    unknown = await hivectl("turns", "alise")
    assert unknown.code == Exit.NOT_FOUND
    assert unknown.err.endswith("Did you mean alice?\n")
    destroyed = await hivectl("turns", "carol")
    assert (destroyed.code, destroyed.out) == (Exit.OK, "no turns are recorded\n")


async def test_turns_of_a_time_and_further_pages(hive: FakeHive, hivectl: Hivectl) -> None:
    arguments = ("--since", "2023-11-14", "--until", "2023-11-15", "--limit", "5", "--before", "9")
    assert (await hivectl("turns", "alice", *arguments)).out == "no turns are recorded\n"
    day = 86_400_000_000
    since = STARTED // day * day
    assert hive.ledger.asked == [(TurnFilter("alice", since, since + day, 9), 5)]
    assert (await hivectl("turns", "Bob")).code == Exit.USAGE


async def test_hostile_words_do_not_steer_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.turns = [turn(1, error=HOSTILE, model=HOSTILE, outcome=HOSTILE)]
    hive.ledger.sums = [Cost(HOSTILE, 1, 2, 3, 4, 5, 6, 7)]
    for command in (("turns", "alice"), ("cost", "--by", "model")):
        for shown in ((await hivectl(*command)).out, (await hivectl(*command, "--json")).out):
            assert_harmless(shown)
            assert_indented(shown)


@pytest.mark.parametrize("columns", [80, 132])
async def test_tables_fit_the_terminal(
    hive: FakeHive, environment: dict[str, str], columns: int
) -> None:
    hive.ledger.turns = [
        turn(
            123,
            model="claude-opus-4-1-20250805-with-a-long-name",
            error="x" * 300,
            cost=123_456_789,
            input_tokens=999_999,
            output_tokens=123_456,
            tool_calls=12_345,
            denied=1_234,
            outcome="timed-out",
        )
    ]
    hive.ledger.sums = [Cost("m" * 100, 10**5, 10**13, 10**9, 10**9, 10**9, 0, 10**10)] * 2
    for command in (["turns", "alice"], ["cost", "--by", "model"]):
        async with terminal(environment, *command, COLUMNS=str(columns), NO_COLOR="1") as shown:
            code, text = await shown.end()
        assert code == 0
        assert max(map(len, text.splitlines())) <= columns, text


async def test_costs_by_each_key(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.sums = [
        Cost("alice", 3, 65_000_000, 1000, 200, 500, 100, 1_500_000),
        Cost("bob-2", 1, 1_000_000, 0, 0, 0, 0, 250_000),
    ]
    head, *rows = (await hivectl("cost")).out.splitlines()
    assert words(head) == "TURNS TOOK READ CACHED WROTE COST AGENT"
    assert words(rows[0]) == "3 1m05s 1.0k 500 200 $1.50 alice"
    assert words(rows[1]) == "1 1.0s 0 0 0 $0.2500 bob-2"
    assert words(rows[2]) == "4 1m06s 1.0k 500 200 $1.75 total"
    await hivectl("cost", "alice", "--since", "2023-11-14")
    await hivectl("cost", "alice", "--by", "model")
    day = STARTED // 86_400_000_000 * 86_400_000_000
    assert hive.ledger.asked == [
        CostFilter(CostKey.AGENT),
        CostFilter(CostKey.DAY, "alice", day),
        CostFilter(CostKey.MODEL, "alice"),
    ]
    [first, _] = (await hivectl("cost", "--json")).json
    assert first == {
        "agent": "alice",
        "turns": 3,
        "seconds": 65.0,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cache_read_tokens": 500,
        "cache_write_tokens": 100,
        "cost": 1.5,
        "unknown_price": False,
    }
    hive.ledger.sums = [Cost("alice", 1, 0, 0, 0, 0, 0, 10), Cost("bob", 1, 0, 0, 0, 0, 0, 5, True)]
    shown = (await hivectl("cost")).out.splitlines()
    assert [row.split()[5] for row in shown[1:]] == ["$0.0000", "$0.0000?", "$0.0000?"]
    assert (await hivectl("cost", "--by", "week")).code == Exit.USAGE


async def test_list_shows_the_costs_since_midnight(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.sums = [Cost("alice", 3, 0, 0, 0, 0, 0, 1_500_000)]
    head, alice, bob, _ = (await hivectl("list")).out.splitlines()
    assert "TODAY" in head.split()
    assert "$1.50" in alice.split()
    assert "$0.00" in bob.split()
    day = 86_400_000_000
    [asked] = hive.ledger.asked
    assert asked == CostFilter(CostKey.AGENT, since=time.time_ns() // 1000 // day * day)
    found = (await hivectl("list", "--json")).json
    assert [agent["cost_today"] for agent in found] == [1.5, 0.0, 0.0]


async def test_list_works_without_a_ledger(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.error = Unavailable("hive-ledger.service is stopped.")
    _, alice, *_ = (await hivectl("list")).out.splitlines()
    assert re.search(r"1234 +- +claude-x$", alice)
    assert (await hivectl("list", "--json")).json[0]["cost_today"] is None


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (span(0), "0.0s"),
        (span(59_940_000), "59.9s"),
        (span(59_960_000), "1m00s"),
        (span(3_599_600_000), "1h00m"),
        (span(360_000_000_000), "100h00m"),
        (count(0), "0"),
        (count(999), "999"),
        (count(1000), "1.0k"),
        (count(99_949), "99.9k"),
        (count(99_950), "100k"),
        (count(999_499), "999k"),
        (count(999_500), "1.0M"),
        (count(10**13), "10.0T"),
        (money(0), "$0.00"),
        (money(1), "$0.0000"),
        (money(12_345), "$0.0123"),
        (money(1_234_567), "$1.23"),
    ],
)
def test_numbers_for_people(shown: str, expected: str) -> None:
    assert shown == expected
