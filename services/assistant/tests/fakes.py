"""Fakes of the services on a private bus, as far as the assistant calls them."""

# ruff: noqa: N802 - D-Bus members are PascalCase

from wire import fake_agent, names
from wire.bus import Bus
from wire.errors import Conflict
from wire.interface import Interface, method
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.approvals import (
    Approval,
    ApprovalFilter,
    ApprovalKind,
    ApprovalOptions,
    ApprovalState,
    Change,
)
from wire.records.broker import Message, MessageState, Question, QuestionState
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, Cost
from wire.records.lifecycle import TurnState
from wire.types import Dict, ObjectPath, Str, StrList, UInt32, UInt64

NOW = 1_780_000_000_000_000
COMMIT, BASE = "c" * 40, "b" * 40


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.answered: list[tuple[int, list[str]]] = []

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        text = "look\u202etxt.exe"
        state = MessageState.QUEUED
        return [Message(7, "alice", "operator", "message", text, NOW, 0, False, 0, state)][:limit]

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        return [
            Question(
                3, "alice", "operator", "May I?", ["yes", "no"], False, NOW, NOW + 10**9,
                QuestionState.OPEN, [], "", 0,
            )
        ]  # fmt: skip

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        self.sent.append((to, body))
        return 12

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        self.answered.append((id, answer))


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self) -> None:
        self.decided: list[tuple[str, int, str]] = []
        self.request = Approval(
            5, ApprovalKind.APPLY, "alice", COMMIT, "More memory", "manager", NOW,
            ApprovalState.PENDING, "", 0,
        )  # fmt: skip

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[Approval]:
        wanted = decode(ApprovalFilter, filter)
        return [self.request] if wanted.id in (None, self.request.id) else []

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64) -> Change:
        return Change("+memory_max = 2\n", BASE)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        if (commit, decode(ApprovalOptions, options).base) != (COMMIT, BASE):
            raise Conflict("The request has changed meanwhile.")
        self.decided.append(("approve", id, commit))
        return names.job_path(4)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self.decided.append((f"deny: {note}", id, commit))


class FakeLedger(Interface, name=names.LEDGER):
    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        return [Cost("alice", 2, 10**6, 100, 50, 0, 0, 2_500_000)]

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        hive = Budget(BudgetKind.HIVE, "hive", BudgetPeriod.DAY, limit=10_000_000, spent=2_500_000)
        return [hive, hive._replace(period=BudgetPeriod.WEEK, limit=0)]


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    pass


class FakeAgent(fake_agent.FakeAgent, name=names.AGENT_INTERFACE):
    @method(allow=OPERATOR)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return [f"line {number}" for number in range(200)][-lines:]


class FakeHive:
    """All of them, with one agent."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.approvals = FakeApprovals()
        self.ledger = FakeLedger()

    async def serve(self, bus: Bus) -> None:
        bus.export(names.BROKER_PATH, self.broker)
        bus.export(names.APPROVALS_PATH, self.approvals)
        bus.export(names.LEDGER_PATH, self.ledger)
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.LIFECYCLE_PATH, FakeLifecycle())
        alice = fake_agent.properties("alice", turn_state=TurnState.THINKING, model="opus")
        bus.export(names.agent_path("alice"), FakeAgent(alice))
        for name in (names.BROKER, names.APPROVALS, names.LEDGER, names.LIFECYCLE):
            await bus.own(name)
