"""Budgets: limits and their sources, states, periods, and the bound that holds."""

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.config import BudgetLimits, Budgets, LedgerConfig
from services.ledger.budgets.account import Key, Owner
from services.ledger.budgets.notices import Notice
from services.ledger.budgets.store import Source
from services.ledger.tests.conftest import DAY, DOLLAR, HOUR, Room
from wire.errors import BudgetExhausted, InvalidArgument, LimitExceeded, Unavailable
from wire.records.ledger import BudgetKind, BudgetPeriod, BudgetState


@pytest.fixture
def berlin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", getattr(request, "param", "Europe/Berlin"))
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def owed(room: Room) -> list[tuple[str, str]]:
    """Return recipient and kind of the notices that are not delivered."""
    with room.database.look() as db:
        rows = db.execute("SELECT recipient, kind, body FROM notice ORDER BY id").fetchall()
    return [(row["recipient"], row["kind"]) for row in rows]


async def test_a_budget_that_is_used_up_stops_every_request(room: Room) -> None:
    room.limit("agent", "alice", day=2 * DOLLAR)
    room.spend(1.5)
    assert room.budget().state is BudgetState.OK
    room.spend(0.1)
    assert room.budget().state is BudgetState.WARNED
    room.spend(0.4)
    assert room.budget().state is BudgetState.EXHAUSTED
    with pytest.raises(BudgetExhausted):
        room.reserve(output_tokens=0)
    room.spend(1, "bob")
    assert owed(room) == [
        ("manager", "budget-warning"),
        ("operator", "budget-warning"),
        ("manager", "budget-exhausted"),
        ("operator", "budget-exhausted"),
    ]


async def test_a_request_that_may_exceed_a_budget_is_sent_alone(room: Room) -> None:
    room.limit("agent", "alice", day=2 * DOLLAR)
    first = room.reserve()
    second = room.reserve()
    with pytest.raises(LimitExceeded, match="under way may use up the rest"):
        room.reserve(output_tokens=1)
    assert room.refused == [], "it is not used up"
    room.settle(first, output_tokens=39_999)
    room.settle(second, output_tokens=39_999)
    alone = room.reserve(output_tokens=400_000)
    with pytest.raises(LimitExceeded):
        room.reserve(output_tokens=1)
    room.settle(alone, output_tokens=400_000)
    assert room.budget().spent == 12 * DOLLAR - 50
    with pytest.raises(BudgetExhausted):
        room.reserve(output_tokens=1)


@pytest.mark.parametrize(("kind", "name"), [("hive", "hive"), ("credential", "default")])
async def test_one_agent_leaves_half_of_a_shared_budget_to_others(
    room: Room, kind: str, name: str
) -> None:
    room.limit(kind, name, day=11 * DOLLAR)
    room.spend(1)
    first = room.reserve(output_tokens=160_000)
    second = room.reserve()
    with pytest.raises(LimitExceeded, match="under way may use up the rest"):
        room.reserve(output_tokens=1)
    room.settle(room.reserve("bob", output_tokens=200_000), "bob")
    room.settle(first, output_tokens=0)
    room.settle(second, output_tokens=0)
    alone = room.reserve(output_tokens=400_000)
    room.settle(alone, output_tokens=0)
    assert room.refused == []


async def test_an_agents_own_budget_is_its_own_in_whole(room: Room) -> None:
    room.limit("agent", "alice", day=10 * DOLLAR)
    room.reserve(output_tokens=160_000)
    room.reserve(output_tokens=240_000)


async def test_tokens_are_limited_whatever_they_cost(room: Room) -> None:
    room.limit("agent", "alice", day_tokens=100)
    room.settle(room.reserve(model="unheard-of", output_tokens=60), output_tokens=60)
    assert room.budget().unknown_price
    first = room.reserve(output_tokens=40)
    with pytest.raises(LimitExceeded):
        room.reserve(output_tokens=1)
    room.settle(first, cache_read_tokens=40)
    with pytest.raises(BudgetExhausted, match="100 of 100 tokens"):
        room.reserve()


@pytest.mark.parametrize(
    ("kind", "name", "stopped"),
    [
        ("hive", "hive", {"alice", "bob"}),
        ("hive", "", {"alice", "bob"}),
        ("credential", "default", {"alice", "bob"}),
        ("credential", "agent:bob", set()),
        ("agent", "alice", {"alice"}),
    ],
)
async def test_whom_a_budget_stops(room: Room, kind: str, name: str, stopped: set[str]) -> None:
    room.limit(kind, name, week=DOLLAR)
    room.spend(1, "alice")
    found = set()
    for agent in ("alice", "bob"):
        try:
            room.reserve(agent)
        except BudgetExhausted:
            found.add(agent)
    assert found == stopped


@pytest.mark.usefixtures("berlin")
async def test_periods_are_those_of_the_calendar(room: Room) -> None:
    room.now = round(datetime(2025, 3, 28, 23, 30).timestamp()) * 10**6  # a Friday
    room.limit("agent", "alice", day=DOLLAR, week=3 * DOLLAR)
    room.spend(1)
    assert room.budget().until == round(datetime(2025, 3, 29).timestamp()) * 10**6
    room.now += HOUR
    room.spend(1)
    with pytest.raises(BudgetExhausted, match="for a day is used up until 2025-03-30 00:00"):
        room.reserve()
    room.now += DAY
    room.spend(1)
    with pytest.raises(BudgetExhausted, match="for a week is used up until 2025-03-31 00:00"):
        room.reserve()
    # The last Sunday of March has 23 hours.
    room.now = room.budget(period="day").until
    assert datetime.fromtimestamp(room.now / 1e6) == datetime(2025, 3, 31)
    room.spend(1)
    assert room.budget(period="total").spent == 4 * DOLLAR


def at(*when: int) -> int:
    """Return a time of the host's time zone."""
    return round(datetime(*when).timestamp()) * 10**6  # type: ignore[arg-type]


@pytest.mark.usefixtures("berlin")
async def test_the_last_sunday_of_october_has_25_hours(room: Room) -> None:
    room.now = at(2025, 10, 26)
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    assert room.budget().until == room.now + 25 * HOUR == at(2025, 10, 27)
    room.now += 24 * HOUR
    with pytest.raises(BudgetExhausted):
        room.reserve()
    assert room.ledger.look_again() == room.now + HOUR
    room.now += HOUR
    room.spend(1)


@pytest.mark.usefixtures("berlin")
async def test_a_week_begins_on_monday(room: Room) -> None:
    room.now = at(2025, 11, 30, 23, 59)  # a Sunday
    room.limit("agent", "alice", week=DOLLAR)
    room.spend(1)
    week = room.budget(period="week")
    assert (week.since, week.until) == (at(2025, 11, 24), at(2025, 12, 1))
    room.now = week.until - 1
    with pytest.raises(BudgetExhausted):
        room.reserve()
    room.now = week.until
    room.spend(1)
    assert room.budget(period="week").until == at(2025, 12, 8)


@pytest.mark.parametrize("berlin", ["America/Havana"], indirect=True)
async def test_a_midnight_that_comes_twice_begins_one_day(room: Room, berlin: None) -> None:
    """Cuba puts the clock back from 1:00 to 0:00."""
    midnight = at(2025, 11, 2)
    room.now = midnight + HOUR // 2
    room.limit("agent", "alice", day=DOLLAR, week=DOLLAR)
    room.spend(1)
    for _ in range(24):
        room.now += HOUR
        shown = room.budget()
        assert (shown.since, shown.until) == (midnight, midnight + 25 * HOUR)
        with pytest.raises(BudgetExhausted):
            room.reserve()


@pytest.mark.parametrize("berlin", ["Africa/Cairo"], indirect=True)
async def test_a_midnight_that_does_not_come_begins_a_day(room: Room, berlin: None) -> None:
    """Egypt puts the clock on from 0:00 to 1:00."""
    room.now = at(2025, 4, 24, 12)
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    room.now = room.budget().until
    assert datetime.fromtimestamp(room.now / 1e6) == datetime(2025, 4, 25, 1)
    assert datetime.fromtimestamp((room.now - 1) / 1e6) < datetime(2025, 4, 25)
    room.spend(1)
    assert room.budget().until == room.now + 23 * HOUR


async def test_a_clock_that_was_set_back_gives_nothing_back(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    until = room.budget().until
    room.now -= DAY
    with pytest.raises(BudgetExhausted):
        room.reserve()
    assert room.budget().until == until


async def test_a_clock_that_was_years_ahead_stops_nobody_for_years(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR, week=4 * DOLLAR)
    room.now += 1000 * DAY
    room.spend(1)
    room.now -= 1000 * DAY
    with pytest.raises(BudgetExhausted):
        room.reserve()
    room.ledger.look_again()
    room.now += DAY
    room.spend(1)
    assert (room.budget().spent, room.budget(period="week").spent) == (DOLLAR, 2 * DOLLAR)


async def test_a_budget_that_was_lifted_by_a_wrong_clock_is_not_lifted_for_years(
    room: Room,
) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    room.now += 1000 * DAY
    room.spend(1)
    lift(room)
    room.spend(1)
    room.now -= 1000 * DAY
    room.ledger.look_again()
    shown = room.budget()
    assert (shown.lifted_until, shown.state) == (0, BudgetState.EXHAUSTED)
    with pytest.raises(BudgetExhausted):
        room.reserve()


def lift(room: Room) -> None:
    """Let alice's budget for a day go on until midnight, as the operator's answer does."""
    account = room.budgets.account(
        Key(Owner(BudgetKind.AGENT, "alice"), BudgetPeriod.DAY), room.now
    )
    change = room.budgets.answer(account, "go on", ["raise", "go on"], room.now, room.now)
    with room.database.write() as db:
        change.save(db)
    change.adopt()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(("month", "day", "hours"), [(3, 30, 23), (10, 26, 25), (11, 29, 24)])
async def test_a_budget_is_lifted_until_midnight(
    room: Room, month: int, day: int, hours: int
) -> None:
    room.now = began = at(2025, month, day)
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    lift(room)
    assert room.ledger.look_again() == room.budget().lifted_until == began + hours * HOUR
    room.now = began + hours * HOUR - 1
    room.spend(5)
    room.now += 1
    room.ledger.look_again()
    assert (room.budget().lifted_until, room.budget().spent) == (0, 0)
    room.spend(1)
    with pytest.raises(BudgetExhausted):
        room.reserve()


async def test_limits_that_cannot_be_written_do_not_hold_by_half(room: Room) -> None:
    room.spend(3)
    room.limit("agent", "alice", day=9 * DOLLAR)
    with room.database.write() as db:
        db.execute("ALTER TABLE notice RENAME COLUMN body TO text")
    with pytest.raises(Unavailable):
        room.limit("agent", "alice", day=2 * DOLLAR)
    with room.database.write() as db:
        db.execute("ALTER TABLE notice RENAME COLUMN text TO body")
    for _ in range(2):
        assert (room.budget().limit, room.budget().state) == (9 * DOLLAR, BudgetState.OK)
        room.reopen()


@pytest.mark.parametrize(
    "config", [LedgerConfig(budgets=Budgets(agent=BudgetLimits(day=0.000_000_1)))]
)
async def test_a_limit_of_nearly_nothing_is_one(room: Room) -> None:
    room.spend(0.01)
    with pytest.raises(BudgetExhausted):
        room.reserve()


CONFIG = LedgerConfig(
    budgets=Budgets(
        hive=BudgetLimits(total=100),
        agent=BudgetLimits(day=1, week=5, day_tokens=1000),
        agents={"bob": BudgetLimits(day=2.5)},
        credentials={"default": BudgetLimits(total_tokens=7)},
    )
)


@pytest.mark.parametrize("config", [CONFIG])
async def test_whose_limits_come_first(room: Room) -> None:
    def limits(name: str) -> list[int]:
        return [room.budget("agent", name, period).limit for period in ("day", "week", "total")]

    for name in ("alice", "bob"):
        room.limit("agent", name, Source.DEPLOYED, day=3 * DOLLAR, total=9 * DOLLAR)
    assert limits("alice") == [3 * DOLLAR, 5 * DOLLAR, 9 * DOLLAR]
    assert limits("bob") == [5 * DOLLAR // 2, 5 * DOLLAR, 9 * DOLLAR]
    assert room.budget("agent", "bob").limit_tokens == 1000
    assert room.budget("hive", "hive", "total").limit == 100 * DOLLAR
    assert room.budget("credential", "default", "total").limit_tokens == 7
    room.limit("agent", "bob", day=7 * DOLLAR)
    room.limit("agent", "bob", week=0)
    assert limits("bob") == [7 * DOLLAR, 0, 9 * DOLLAR]
    room.limit("agent", "bob", Source.DEPLOYED, reset=True)
    assert limits("bob") == [7 * DOLLAR, 0, 0]
    room.reopen()
    assert limits("bob") == [7 * DOLLAR, 0, 0]
    room.limit("agent", "bob", reset=True)
    assert limits("bob") == [5 * DOLLAR // 2, 5 * DOLLAR, 0]


@pytest.mark.parametrize(
    ("kind", "name", "limits", "text"),
    [
        ("agents", "alice", {}, "kind"),
        ("agent", "Alice", {}, "agent name"),
        ("hive", "bee", {}, "hive"),
        ("credential", "bob", {}, "credential"),
        ("agent", "alice", {"day": -1}, "day"),
        ("agent", "alice", {"month": 1}, "month"),
    ],
)
async def test_limits_are_checked(
    room: Room, kind: str, name: str, limits: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        room.limit(kind, name, **limits)


async def test_a_raised_limit_lets_requests_through_at_once(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(1)
    with pytest.raises(BudgetExhausted):
        room.reserve()
    room.limit("agent", "alice", day=2 * DOLLAR)
    assert room.budget().state is BudgetState.OK
    room.spend(1)
    assert room.budget().state is BudgetState.EXHAUSTED
    assert owed(room).count(("manager", "budget-exhausted")) == 2


async def test_notices_are_made_once_for_a_period(room: Room) -> None:
    room.limit("agent", "alice", day=DOLLAR)
    for _ in range(3):
        room.spend(0.3)
        room.spend(0)
    room.reopen()
    assert owed(room) == [("manager", "budget-warning"), ("operator", "budget-warning")]
    room.now += DAY
    room.ledger.look_again()
    assert room.budget().state is BudgetState.OK
    room.spend(0.9)
    assert len(owed(room)) == 4


async def test_a_notice_says_what_is_used(room: Room) -> None:
    room.limit("credential", "default", total=DOLLAR, total_tokens=50_000)
    room.settle(room.reserve(model="new"), model="new", output_tokens=10_700)
    with room.database.look() as db:
        [manager, _] = [
            Notice(row["recipient"], row["kind"], row["body"])
            for row in db.execute("SELECT * FROM notice")
        ]
    assert manager.body == (
        "The budget of the credential default in total is used to 80 %: $0.80 of $1.00, 10,700 "
        "of 50,000 tokens, the price of a model is not known. When it is used up, the agents "
        "that use it are held, and no request leaves any more. To raise it: hivectl budget "
        "--credential default --total DOLLARS"
    )


@pytest.mark.parametrize(
    ("limits", "option"),
    [
        ({"day": DOLLAR}, "--day DOLLARS"),
        ({"day_tokens": 10_000}, "--day-tokens NUMBER"),
        ({"day": 50 * DOLLAR, "day_tokens": 10_000}, "--day-tokens NUMBER"),
        ({"day": DOLLAR, "day_tokens": 10_000_000}, "--day DOLLARS"),
    ],
)
async def test_a_sentence_names_the_limit_that_is_reached(
    room: Room, limits: dict[str, Any], option: str
) -> None:
    room.limit("agent", "alice", **limits)
    room.settle(room.reserve(), output_tokens=100_000)
    with pytest.raises(BudgetExhausted, match=f"hivectl budget alice {option}$"):
        room.reserve()


# The bound


AGENT = st.sampled_from(["alice", "bob"])
SHARE = st.sampled_from([1.0, 0.4, 0.0])
TOKENS = st.sampled_from([20_000, 10_000, 10])
STEP = st.one_of(
    st.tuples(st.just("burst"), AGENT, TOKENS),
    st.tuples(st.just("reserve"), AGENT, TOKENS),
    st.tuples(st.just("settle"), st.integers(0, 9), SHARE),
    st.tuples(st.just("settle"), st.integers(0, 9), SHARE, SHARE),
    st.tuples(st.just("leave"), AGENT),
    st.tuples(st.just("crash")),
    st.tuples(st.just("reboot")),
)


@settings(max_examples=100)
@given(st.lists(STEP, max_size=25))
async def test_no_budget_is_exceeded_by_more_than_one_response(steps: list[Any]) -> None:
    """Take any order of reservations, settlements, lost gateways, crashes and reboots."""
    # In memory: thousands of commits. An example may end early, in the middle.
    with (
        TemporaryDirectory(dir="/dev/shm") as folder,
        closing(Room(Path(folder) / "ledger.sqlite", LedgerConfig())) as room,
    ):
        room.limit("agent", "alice", day=2 * DOLLAR)
        room.limit("hive", "hive", week=3 * DOLLAR)
        room.limit("credential", "default", total_tokens=110_000)
        walk = Walk(room)
        for name, *arguments in steps:
            done = getattr(walk, name)(*arguments)
            if done is not None:
                await done
            walk.check()


class Walk:
    """A ledger, and what its accounts must say."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.made: dict[int, tuple[str, int]] = {}
        """Agent and tokens of each request."""
        self.charged: dict[int, int] = {}
        """The tokens of each request that has ended."""
        self.lost: set[int] = set()

    def reserve(self, agent: str, tokens: int) -> None:
        try:
            number = self.room.reserve(agent, output_tokens=tokens)
        except (BudgetExhausted, LimitExceeded):
            return
        self.made[number] = (agent, tokens)

    def burst(self, agent: str, tokens: int) -> None:
        for _ in range(8):
            self.reserve(agent, tokens)

    def settle(self, which: int, *shares: float) -> None:
        if not self.made:
            return
        number = sorted(self.made)[which % len(self.made)]
        agent, most = self.made[number]
        for share in shares:
            tokens = round(most * share)
            self.room.settle(number, agent, output_tokens=tokens)
            if number not in self.charged or number in self.lost:
                self.charged[number] = tokens
                self.lost.discard(number)

    async def leave(self, agent: str) -> None:
        if f":{agent}" in self.room.gateways:
            await self.room.leave(f":{agent}")
            del self.room.gateways[f":{agent}"]
            self.lose(agent)

    def crash(self) -> None:
        self.room.reopen()

    def reboot(self) -> None:
        self.room.bus_id += "x"
        self.room.gateways.clear()
        self.room.reopen()
        self.lose("alice")
        self.lose("bob")

    def lose(self, agent: str) -> None:
        gone = {
            number: most
            for number, (who, most) in self.made.items()
            if who == agent and number not in self.charged
        }
        self.lost |= gone.keys()
        self.charged |= gone

    def check(self) -> None:
        largest = max((most for _, most in self.made.values()), default=0)
        alice, hive = self.room.budget(), self.room.budget("hive", "hive", "week")
        credential = self.room.budget("credential", "default", "total")
        assert alice.spent <= 2 * DOLLAR + largest * 25
        assert hive.spent <= 3 * DOLLAR + largest * 25
        assert credential.spent_tokens <= 110_000 + largest
        # Each request is counted once, with what it used or, until then, what it may use.
        under_way = [most for number, (_, most) in self.made.items() if number not in self.charged]
        assert hive.spent_tokens == sum(self.charged.values())
        assert hive.reserved_tokens == sum(under_way)
        mine = [number for number, (who, _) in self.made.items() if who == "alice"]
        assert alice.spent_tokens == sum(self.charged.get(number, 0) for number in mine)


WISH = st.tuples(AGENT, st.sampled_from([20_000, 10_000, 3000, 10]), SHARE)


@settings(max_examples=40, deadline=None)
@given(st.lists(WISH, min_size=20, max_size=20), st.randoms(use_true_random=False))
@pytest.mark.long
async def test_twenty_at_once_exceed_no_budget_by_more_than_one_response(
    wishes: list[tuple[str, int, float]], order: random.Random
) -> None:
    """Twenty requests ask at the same time, wait for each other, and end in any order."""
    # An example may end early, in the middle.
    with (
        TemporaryDirectory(dir="/dev/shm") as folder,
        closing(Room(Path(folder) / "ledger.sqlite", LedgerConfig())) as room,
    ):
        room.limit("agent", "alice", day=DOLLAR)
        room.limit("hive", "hive", day=2 * DOLLAR)
        asking = {asyncio.create_task(ask(room, wish)): wish for wish in wishes}
        under_way: list[tuple[int, str, int]] = []
        largest = 0
        while asking or under_way:
            done = [task for task in asking if task.done()]
            for task in done:
                agent, tokens, share = asking.pop(task)
                if (number := task.result()) is not None:
                    under_way.append((number, agent, round(tokens * share)))
                    largest = max(largest, tokens * 25)
            if under_way and (not done or order.random() < 0.5):
                number, agent, used = under_way.pop(order.randrange(len(under_way)))
                room.settle(number, agent, output_tokens=used)
            assert room.budget().spent < DOLLAR + largest
            assert room.budget("hive", "hive").spent < 2 * DOLLAR + largest
            await asyncio.sleep(0)
        assert room.budget("hive", "hive").reserved == 0


async def ask(room: Room, wish: tuple[str, int, float]) -> int | None:
    """Ask as a gateway does, until the budget is used up."""
    agent, tokens, _ = wish
    wanted = {"credential": "default", "model": "claude-opus-4-5", "input_tokens": 0}
    wanted["output_tokens"] = tokens
    while True:
        try:
            return await room.requests.reserve_when_free(agent, f":{agent}", wanted)
        except LimitExceeded:
            await asyncio.sleep(0)
        except BudgetExhausted:
            return None


async def test_the_walk_reaches_the_bound(room: Room) -> None:
    """The property is not empty: a budget is exceeded by nearly one response."""
    room.limit("agent", "alice", day=2 * DOLLAR)
    room.spend(1.99)
    room.spend(1.5)
    assert room.budget().spent > 3 * DOLLAR
