"""The consequences of a budget that is used up: holds, questions, and their ends."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from services.ledger.budgets.enforcer import Enforcer
from services.ledger.budgets.notices import Notice, Notices
from services.ledger.tests.conftest import DAY, DOLLAR, SECOND, Room
from wire.errors import BudgetExhausted, NotFound, Unavailable
from wire.records.broker import BudgetHold, HoldKind, Question, QuestionState
from wire.records.ledger import BudgetState

AGENTS = ("alice", "bob", "manager")
RAISE, LIFT, KEEP = 0, 1, 2


@dataclass
class FakeBroker:
    """The broker's holds and questions, as its own tests describe them."""

    away: bool = False
    held: dict[str, HoldKind] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    questions: dict[int, Question] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    sent: list[Notice] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    enforcer: Enforcer | None = None

    async def holds(self) -> Mapping[str, HoldKind]:
        self._called()
        return dict(self.held)

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
            if agent not in self.held:
                self.set(agent, HoldKind.BUDGET)
                self.reasons[agent] = hold.reason
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

    def set(self, agent: str, kind: HoldKind) -> None:
        self.held[agent] = kind
        self.holding.set()
        if self.enforcer:
            self.enforcer.hold_changed(agent, kind)

    def unset(self, agent: str) -> None:
        del self.held[agent]
        if self.enforcer:
            self.enforcer.hold_changed(agent, "")

    def answer(self, number: int, choice: int) -> None:
        chosen = self.questions[number].choices[choice]
        self._end(number, QuestionState.ANSWERED, [chosen])

    def cancel(self, number: int) -> None:
        self._end(number, QuestionState.CANCELLED, [])

    @property
    def open(self) -> list[Question]:
        return [q for q in self.questions.values() if q.state is QuestionState.OPEN]

    def _end(self, number: int, state: QuestionState, answer: list[str]) -> None:
        self.questions[number] = self.questions[number]._replace(state=state, answer=answer)
        if self.enforcer:
            self.enforcer.question_resolved(number)

    def _called(self) -> None:
        self.called.set()
        if self.away:
            raise Unavailable("the broker is away")


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


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
    room.limit("agent", "alice", day=50 * DOLLAR)
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
    broker = DyingBroker()
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
