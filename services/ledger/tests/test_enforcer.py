"""The consequences of a budget that is used up: holds, questions, and their ends."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from services.ledger.budgets.enforcer import Enforcer
from services.ledger.budgets.notices import Notice, Notices
from services.ledger.budgets.store import Source
from services.ledger.tests.conftest import DAY, DOLLAR, NOON, SECOND, Room
from wire.errors import BudgetExhausted, NotFound, Unavailable
from wire.records.broker import (
    BudgetHold,
    Hold,
    HoldKind,
    HoldsChanged,
    Question,
    QuestionState,
)
from wire.records.ledger import BudgetState

AGENTS = ("alice", "bob", "manager")
RAISE, LIFT, KEEP = 0, 1, 2


@dataclass
class FakeBroker:
    """The broker's holds and questions, as its own tests describe them."""

    clock: Callable[[], int] = lambda: NOON
    away: bool = False
    held: dict[str, HoldKind] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    questions: dict[int, Question] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    sent: list[Notice] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    enforcer: Enforcer | None = None

    async def holds(self) -> Sequence[Hold]:
        self._called()
        return [Hold(name, kind, self.reasons.get(name, ""), 0) for name, kind in self.held.items()]

    async def hold(self, hold: BudgetHold) -> int:
        self._called()
        if hold.key not in self.keys:
            number = len(self.questions) + 1
            self.keys[hold.key] = number
            self.questions[number] = Question(
                id=number,
                asker="system",
                recipient="operator",
                text=hold.question,
                choices=hold.choices,
                multi=False,
                asked=1,
                deadline=0,
                state=QuestionState.OPEN,
                answer=[],
                answered_by="",
                resolved=0,
            )
        for agent in AGENTS if "*" in hold.agents else hold.agents:
            known = self.held.get(agent)
            if known is None or (known is HoldKind.BUDGET and agent in hold.agents):
                self.set(agent, HoldKind.BUDGET, hold.reason)
        return self.keys[hold.key]

    async def release(self, agents: Sequence[str], question: int) -> None:
        self._called()
        for agent in agents:
            if self.held.get(agent) is HoldKind.BUDGET:
                self.unset(agent)
        if question and self.questions[question].state is QuestionState.OPEN:
            self._end(question, QuestionState.CANCELLED, [])

    async def question(self, number: int) -> Question | None:
        self._called()
        return self.questions.get(number)

    async def send(self, notice: Notice) -> None:
        self._called()
        if notice.recipient not in (*AGENTS, "operator"):
            raise NotFound("nobody")
        self.sent.append(notice)

    def set(self, agent: str, kind: HoldKind, reason: str = "") -> None:
        self.held[agent] = kind
        self.reasons[agent] = reason
        self.holding.set()
        if self.enforcer:
            self.enforcer.hold_changed(HoldsChanged(agent, kind, reason, 0))

    def unset(self, agent: str) -> None:
        del self.held[agent]
        if self.enforcer:
            self.enforcer.hold_changed(HoldsChanged(agent, "", "", 0))

    def answer(self, number: int, choice: int) -> None:
        chosen = self.questions[number].choices[choice]
        self._end(number, QuestionState.ANSWERED, [chosen])

    def cancel(self, number: int) -> None:
        self._end(number, QuestionState.CANCELLED, [])

    @property
    def open(self) -> list[Question]:
        return [q for q in self.questions.values() if q.state is QuestionState.OPEN]

    def _end(self, number: int, state: QuestionState, answer: list[str]) -> None:
        self.questions[number] = self.questions[number]._replace(
            state=state, answer=answer, resolved=self.clock()
        )
        if self.enforcer:
            self.enforcer.question_resolved(number)

    def _called(self) -> None:
        self.called.set()
        if self.away:
            raise Unavailable("the broker is away")


@pytest.fixture
def broker(room: Room) -> FakeBroker:
    return FakeBroker(room.clock)


@pytest.fixture
def enforcer(room: Room, broker: FakeBroker) -> Enforcer:
    return connected(room, broker)


def connected(room: Room, broker: FakeBroker) -> Enforcer:
    made = Enforcer(room.database, room.budgets, broker, room.requests.credentials, room.clock)
    room.requests.on_refused = made.refused
    broker.enforcer = made
    return made


def exhaust(room: Room) -> None:
    room.limit("agent", "alice", day=10 * DOLLAR)
    room.spend(10.5)


def is_refused(room: Room, agent: str = "alice") -> bool:
    try:
        room.settle(room.reserve(agent), agent)
    except BudgetExhausted:
        return True
    return False


async def test_an_agent_is_held_and_the_operator_asked_once(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    for _ in range(3):
        await enforcer.enforce()
        assert is_refused(room)
    assert broker.held == {"alice": HoldKind.BUDGET}
    [question] = broker.open
    assert question.choices == [
        "raise it by $5.50 for today",
        "let it go on until midnight",
        "keep it held",
    ]
    assert question.text.startswith("The budget of alice for a day is used up until ")
    assert broker.reasons["alice"].endswith("($10.50 of $10.00)")
    assert room.budget().question == question.id


async def test_a_purge_forgets_what_was_spent_and_the_question(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.ledger.on_outdated = enforcer.cancel
    exhaust(room)
    await enforcer.enforce()
    room.ledger.forget("alice")
    await enforcer.enforce()
    assert (broker.open, broker.held) == ([], {})
    room.reopen()
    assert [one for one in room.ledger.list_budgets() if one.name == "alice"] == []
    assert not is_refused(room)
    [used, *_] = await room.requests.sum_usage({})
    assert used.cost > 10 * DOLLAR, "what was used stays in the lists"
    hive = next(b for b in room.ledger.list_budgets() if (b.kind, b.period) == ("hive", "total"))
    assert hive.spent > 10 * DOLLAR, "and counts for the hive"


async def test_new_limits_of_the_operator_end_earlier_answers(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.ledger.on_outdated = enforcer.cancel
    exhaust(room)
    await enforcer.enforce()
    room.now += SECOND
    room.limit("agent", "alice", day=4 * DOLLAR)  # still used up: another question
    await enforcer.enforce()
    [question] = broker.open
    assert (question.id, "of $4.00" in question.text) == (2, True)
    assert broker.reasons["alice"].endswith("of $4.00)")
    broker.answer(2, RAISE)
    await enforcer.enforce()
    assert (room.budget().raised > 0, broker.held) == (True, {})
    room.limit("agent", "alice", day=12 * DOLLAR)
    assert (room.budget().limit, room.budget().raised) == (12 * DOLLAR, 0)
    room.now += SECOND
    room.spend(2)
    await enforcer.enforce()
    broker.answer(3, LIFT)
    await enforcer.enforce()
    assert not is_refused(room)
    room.limit("agent", "alice", week=500 * DOLLAR)
    assert not is_refused(room), "the limit of another period changes nothing"
    room.limit("agent", "alice", Source.DEPLOYED, day=1 * DOLLAR)
    assert not is_refused(room), "nor does a deploy"
    room.now += SECOND
    room.limit("agent", "alice", day=12 * DOLLAR)
    assert is_refused(room)
    await enforcer.enforce()
    assert (broker.held, len(broker.open)) == ({"alice": HoldKind.BUDGET}, 1)


async def test_a_raise_holds_for_the_period(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.answer(1, RAISE)
    await enforcer.enforce()
    assert broker.held == {}
    now = room.budget()
    assert (now.limit, now.raised, now.state) == (
        31 * DOLLAR // 2,
        11 * DOLLAR // 2,
        BudgetState.OK,
    )
    room.reopen()
    await connected(room, broker).enforce()
    assert room.budget().limit == 31 * DOLLAR // 2, "the answer counts once"
    room.now += DAY
    room.ledger.look_again()
    assert room.budget().limit == 10 * DOLLAR


async def test_a_lifted_budget_stops_nothing_until_midnight(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("agent", "alice", week=10 * DOLLAR)
    room.spend(10)
    await enforcer.enforce()
    broker.answer(1, LIFT)
    await enforcer.enforce()
    assert broker.held == {}
    room.spend(100)
    assert room.budget(period="week").state is BudgetState.WARNED
    midnight = room.budget(period="week").lifted_until
    assert room.ledger.look_again() == midnight
    room.now = midnight
    room.ledger.look_again()
    assert is_refused(room)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert len(broker.open) == 1


async def test_kept_held_is_not_asked_again(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.answer(1, KEEP)
    await enforcer.enforce()
    broker.unset("alice")
    assert is_refused(room)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert len(broker.questions) == 1
    room.now += DAY
    room.ledger.look_again()
    await enforcer.enforce()
    assert broker.held == {}
    room.spend(10)
    await enforcer.enforce()
    assert len(broker.open) == 1


async def test_kept_held_ends_with_the_hold(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.answer(1, KEEP)
    await enforcer.enforce()
    room.limit("agent", "alice", day=11 * DOLLAR)
    await enforcer.enforce()
    assert broker.held == {}
    room.now += SECOND
    room.spend(1)
    await enforcer.enforce()
    assert [question.id for question in broker.open] == [2]


async def test_who_was_let_go_is_held_again_at_the_next_refusal(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.unset("alice")
    broker.cancel(1)
    room.now += SECOND
    await enforcer.enforce()
    assert broker.held == {}
    assert is_refused(room)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert [question.id for question in broker.open] == [2]


async def test_a_new_period_or_a_new_limit_lets_agents_go_on(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    room.now = room.budget().until
    room.ledger.look_again()
    await enforcer.enforce()
    assert (broker.held, broker.open) == ({}, [])
    room.spend(10)
    await enforcer.enforce()
    assert room.budget().question == broker.open[0].id
    room.limit("agent", "alice", day=50 * DOLLAR)
    assert room.budget().question == 0, "it is about to be cancelled"
    await enforcer.enforce()
    assert (broker.held, broker.open) == ({}, [])
    assert len(broker.questions) == 2


async def test_the_hive_holds_everybody(room: Room, broker: FakeBroker, enforcer: Enforcer) -> None:
    room.limit("hive", "hive", total=DOLLAR)
    exhaust(room)
    broker.set("bob", HoldKind.LOOP)
    await enforcer.enforce()
    assert broker.held == {
        "alice": HoldKind.BUDGET,
        "bob": HoldKind.LOOP,
        "manager": HoldKind.BUDGET,
    }
    assert len(broker.open) == 2, "the hive's, and alice's own"
    room.limit("hive", "hive", total=0)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET, "bob": HoldKind.LOOP}
    assert [question.text[:19] for question in broker.open] == ["The budget of alice"]


async def test_a_credential_holds_those_who_use_it(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("credential", "default", total_tokens=1000)
    room.spend(0, "bob")
    room.spend(0, "manager", credential="agent:manager")
    room.spend(1)
    await enforcer.enforce()
    assert set(broker.held) == {"alice", "bob"}
    [question] = broker.open
    assert question.choices[0] == "raise it by 40,000 tokens"
    broker.answer(question.id, RAISE)
    await enforcer.enforce()
    assert broker.held == {}


async def test_a_raise_that_is_not_enough_asks_again(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("agent", "alice", day=10 * DOLLAR)
    under_way = [room.reserve(output_tokens=160_000) for _ in range(2)]
    room.settle(under_way[0], output_tokens=400_000)
    await enforcer.enforce()
    room.settle(under_way[1], output_tokens=400_000)
    room.now += SECOND
    broker.answer(1, RAISE)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert [question.id for question in broker.open] == [2]
    broker.answer(2, RAISE)
    await enforcer.enforce()
    assert broker.held == {}
    assert room.budget().limit == (10 + 5 + 13) * DOLLAR


class DyingBroker(FakeBroker):
    """A broker whose answer the ledger does not live to hear."""

    dying: bool = True

    async def hold(self, hold: BudgetHold) -> int:
        number = await super().hold(hold)
        if self.dying:
            raise asyncio.CancelledError
        return number


async def test_a_crash_after_the_question_asks_no_second_one(room: Room) -> None:
    broker = DyingBroker(room.clock)
    exhaust(room)
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            await connected(room, broker).enforce()
        room.now += 1
        room.reopen()
    broker.dying = False
    await connected(room, broker).enforce()
    assert len(broker.questions) == 1
    assert room.budget().question == 1


async def test_an_answer_that_came_while_the_ledger_was_away(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.enforcer = None
    broker.answer(1, RAISE)
    room.reopen()
    await connected(room, broker).enforce()
    assert broker.held == {}
    assert room.budget().limit == 31 * DOLLAR // 2


async def test_the_task_waits_for_the_broker(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    broker.away = True
    running = asyncio.create_task(enforcer.run())
    exhaust(room)
    await broker.called.wait()
    assert broker.held == {}
    broker.away = False
    enforcer.broker_appeared()
    async with asyncio.timeout(5):
        await broker.holding.wait()
    running.cancel()
    await asyncio.wait([running])


async def test_notices_are_delivered_once(room: Room, broker: FakeBroker) -> None:
    notices = Notices(room.database, broker)
    room.limit("agent", "alice", day=DOLLAR)
    room.spend(0.8)
    broker.away = True
    await notices.deliverer.deliver()
    broker.away = False
    await notices.deliverer.deliver()
    await notices.deliverer.deliver()
    room.spend(0.2)
    await notices.deliverer.deliver()
    assert [(one.recipient, one.kind) for one in broker.sent] == [
        ("manager", "budget-warning"),
        ("operator", "budget-warning"),
        ("manager", "budget-exhausted"),
        ("operator", "budget-exhausted"),
    ]
    assert len({one.dedupe_key for one in broker.sent}) == 4


@pytest.mark.parametrize("choice", [RAISE, LIFT, KEEP])
async def test_an_answer_that_is_heard_in_the_next_period_does_not_count_in_it(
    room: Room, broker: FakeBroker, enforcer: Enforcer, choice: int
) -> None:
    exhaust(room)
    await enforcer.enforce()
    broker.enforcer = None
    broker.answer(1, choice)
    room.now = room.budget().until
    room.reopen()
    await connected(room, broker).enforce()
    assert broker.held == {}
    assert (room.budget().limit, room.budget().lifted_until) == (10 * DOLLAR, 0)
    room.spend(10)
    await connected(room, broker).enforce()
    assert [question.id for question in broker.open] == [2]


async def test_an_answer_in_the_night_lifts_a_budget_until_the_midnight_that_was_next(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("agent", "alice", total=10 * DOLLAR)
    room.spend(10)
    await enforcer.enforce()
    broker.enforcer = None
    broker.answer(1, LIFT)
    room.now = room.budget().until
    room.reopen()
    await connected(room, broker).enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert room.budget(period="total").lifted_until == 0
    assert [question.id for question in broker.open] == [2]


async def test_a_raise_that_is_heard_later_holds_for_a_budget_without_an_end(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("agent", "alice", total=10 * DOLLAR)
    room.spend(10)
    await enforcer.enforce()
    broker.enforcer = None
    broker.answer(1, RAISE)
    room.now += 3 * DAY
    room.reopen()
    await connected(room, broker).enforce()
    assert broker.held == {}
    assert room.budget(period="total").limit == 15 * DOLLAR


async def test_a_hold_names_the_budget_that_holds_longest(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    """Saturday noon: the agent's day ends at midnight, and the hive's week a day later."""
    exhaust(room)
    await enforcer.enforce()
    assert broker.reasons["alice"].startswith("the budget of alice for a day is used up until 202")
    room.limit("hive", "hive", week=10 * DOLLAR)
    await enforcer.enforce()
    assert len(broker.open) == 2
    week = "the budget of the hive for a week is used up until 2025-12-01 00:00"
    assert {reason[: len(week)] for reason in broker.reasons.values()} == {week}
    with pytest.raises(BudgetExhausted, match=f"T{week[1:]}.*hivectl budget --hive --week"):
        room.reserve()
    room.now = room.budget().until
    room.ledger.look_again()
    await enforcer.enforce()
    assert broker.held["alice"] is HoldKind.BUDGET
    assert broker.reasons["alice"].startswith(week)
    assert [question.text[: len(week)] for question in broker.open] == [f"T{week[1:]}"]


async def test_a_hold_names_another_budget_when_the_longest_is_raised(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    exhaust(room)
    room.limit("hive", "hive", week=10 * DOLLAR)
    await enforcer.enforce()
    room.limit("hive", "hive", week=100 * DOLLAR)
    await enforcer.enforce()
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert broker.reasons["alice"].startswith("the budget of alice for a day")
    assert is_refused(room)
    assert not is_refused(room, "bob")


async def test_a_budget_that_is_lowered_below_what_is_spent_holds_at_once(
    room: Room, broker: FakeBroker, enforcer: Enforcer
) -> None:
    room.limit("agent", "alice", day=10 * DOLLAR)
    room.spend(3)
    under_way = room.reserve()
    await enforcer.enforce()
    room.limit("agent", "alice", day=2 * DOLLAR)
    assert is_refused(room)
    await enforcer.enforce()
    assert broker.held == {"alice": HoldKind.BUDGET}
    assert broker.reasons["alice"].endswith("($3.00 of $2.00)")
    assert broker.open[0].choices[0] == "raise it by $2.00 for today"
    room.settle(under_way, output_tokens=40_000)
    assert room.budget().spent == 4 * DOLLAR
    broker.answer(1, RAISE)
    room.now += SECOND
    await enforcer.enforce()
    assert room.budget().limit == 4 * DOLLAR
    assert [question.id for question in broker.open] == [2], "what was under way used it up"
