"""Fakes of the three services on a private bus: they answer with what tests put into them."""

# ruff: noqa: N802 - D-Bus members are PascalCase

from typing import Annotated, Any, TypeAlias

from wire import names
from wire.bus import Bus
from wire.errors import Conflict, NotFound
from wire.interface import Interface, method, prop, signal
from wire.principal import OPERATOR
from wire.types import (
    U64,
    Bool,
    Dict,
    Int32,
    Int64,
    Messages,
    ObjectPath,
    Questions,
    Signature,
    Str,
    StrList,
    UInt32,
    UInt64,
    UInt64List,
)

Approvals: TypeAlias = Annotated[list[list[Any]], Signature("a(tsssssxssx)")]

Deploys: TypeAlias = Annotated[list[list[Any]], Signature("a(xsstss)")]

NOW = 1_780_000_000_000_000


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self, earlier: "FakeBroker | None" = None) -> None:
        """Begin with nothing, or with the content of `earlier`."""
        self.log: list[list[Any]] = earlier.log if earlier else []
        self.read: list[int] = earlier.read if earlier else []
        self.questions: list[list[Any]] = earlier.questions if earlier else []

    def add(self, sender: str, to: str, body: str, kind: str = "message") -> int:
        number = len(self.log) + 1
        head = [number, sender, to, kind, body, NOW + number]
        self.log.append([*head, 0, False, 0, "queued", "", False])
        return number

    def arrive(self, sender: str, to: str, body: str) -> int:
        number = self.add(sender, to, body)
        self.MessageQueued(to, number, sender, "message")
        return number

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        if to not in ("manager", "alice", "bob"):
            raise NotFound(f"There is no agent {to}.")
        number = self.arrive("operator", to, body)
        self.log[number - 1][8] = options.get("in_reply_to", 0)
        return number

    @method(allow=OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        for number in ids:
            self.read.append(number)
            self.log[number - 1][9] = "acknowledged"
            self.MessageAcknowledged("operator", number)

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> Messages:
        found = [
            row
            for row in self.log
            if filter.get("after", 0) < row[0] < filter.get("before", 2**63)
            and filter.get("to", row[2]) == row[2]
            and filter.get("agent", row[1]) in (row[1], row[2])
            and filter.get("state", row[9]) == row[9]
        ]
        return found[-limit:]

    def ask(self, sender: str, to: str, text: str, *choices: str, multi: bool = False) -> int:
        number = len(self.questions) + 1
        head = [number, sender, to, text, list(choices), multi, NOW + number, NOW + 10**9]
        self.questions.append([*head, "open", [], "", 0])
        self.QuestionAdded(to, number, sender)
        return number

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        if answer == ["too late"]:
            raise Conflict("This question was answered already.")
        self.questions[id - 1][8:] = ["answered", answer, "operator", NOW + 1000]
        self.QuestionResolved(self.questions[id - 1][1], id, "operator", "answered")

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> Questions:
        found = [
            row
            for row in self.questions
            if filter.get("after", 0) < row[0] < filter.get("before", 2**63)
            and filter.get("to", row[2]) == row[2]
            and filter.get("agent", row[1]) in (row[1], row[2])
            and filter.get("state", row[8]) == row[8]
        ]
        return found[-limit:]

    def park(self, number: int) -> None:
        self.log[number - 1][9] = "dead"
        self.MessageParked(self.log[number - 1][2], number, 5)

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        for number in ids:
            self.log[number - 1][9] = "queued"
            self.MessageQueued(self.log[number - 1][2], number, self.log[number - 1][1], "message")

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        for number in ids:
            self.log[number - 1][9] = "dropped"
            self.MessageDropped(self.log[number - 1][2], number)

    @signal()
    def MessageDropped(self, to: Str, id: UInt64) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...

    @signal()
    def MessageQueued(self, to: Str, id: UInt64, sender: Str, kind: Str) -> None: ...

    @signal()
    def MessageDelivered(self, to: Str, id: UInt64, redeliveries: UInt32) -> None: ...

    @signal()
    def MessageAcknowledged(self, to: Str, id: UInt64) -> None: ...

    @signal()
    def MessageParked(self, to: Str, id: UInt64, redeliveries: UInt32) -> None: ...


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    @signal()
    def JobNew(self, id: UInt32, job: ObjectPath, agent: Str, verb: Str) -> None: ...

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class FakeAgent(Interface, name=names.AGENT_INTERFACE):
    def __init__(self, name: str, state: str = "running") -> None:
        self.name = name
        self.state = state
        self.turn = "idle" if state == "running" else "offline"
        self.calls: list[str] = []
        self.usages = 0
        self.lines = [f"{name} line {number}" for number in range(150)]

    def become(self, state: str) -> None:
        self.state = state
        self.emit_changed("State")

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Dict:
        self.usages += 1
        if self.state != "running":
            return {}
        used = {"cpu": 1_500_000, "memory": 50 * 2**20, "memory_peak": 3 * 2**30}
        return {key: U64(value) for key, value in used.items()}

    @method(allow=OPERATOR)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return self.lines[-lines:]

    def _job(self, verb: str) -> str:
        self.calls.append(verb)
        return names.job_path(1)

    @method(allow=OPERATOR)
    async def Start(self) -> ObjectPath:
        return self._job("start")

    @method(allow=OPERATOR)
    async def Stop(self) -> ObjectPath:
        return self._job("stop")

    @method(allow=OPERATOR)
    async def Restart(self) -> ObjectPath:
        return self._job("restart")

    @prop(const=True)
    def Name(self) -> Str:
        return self.name

    @prop()
    def Enabled(self) -> Bool:
        return True

    @prop()
    def State(self) -> Str:
        return self.state

    @prop()
    def Since(self) -> Int64:
        return NOW

    @prop()
    def TurnState(self) -> Str:
        return self.turn

    @prop()
    def TurnSince(self) -> Int64:
        return NOW

    @prop()
    def Resources(self) -> Dict:
        return {"tasks_max": U64(4096), "memory_max": U64(2 * 2**30)}

    @prop()
    def Network(self) -> Dict:
        return {"deny": ["localhost", "10.0.0.0/8"], "allow": ["10.0.0.1"], "filtered": True}

    @prop()
    def Image(self) -> Str:
        return "/"

    @prop()
    def Stale(self) -> Bool:
        return False

    @prop()
    def Port(self) -> UInt32:
        return 8123

    @prop()
    def DeployedCommit(self) -> Str:
        return "0123456789abcdef" * 2

    @prop()
    def Model(self) -> Str:
        return "claude-test"

    @signal()
    def Crashed(self, result: Str, status: Int32) -> None: ...


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self) -> None:
        self.log: list[list[Any]] = []
        self.calls: list[tuple[str, int]] = []
        self.diff = "+a new line\n"

    @method(allow=OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> Deploys:
        return [[NOW, agent, "0123456789abcdef" * 2, 7, "manager", "More memory for the tests"]]

    def ask(self, agent: str, reason: str, kind: str = "spawn") -> int:
        number = len(self.log) + 1
        head = [number, kind, agent, f"{number:040x}", reason]
        self.log.append([*head, "manager", NOW, "pending", "", 0])
        self.ApprovalAdded(agent, number, kind)
        return number

    def settle(self, number: int, state: str, note: str) -> None:
        if not 0 < number <= len(self.log):
            raise NotFound(f"There is no request {number}.")
        self.log[number - 1][7:] = [state, note, NOW + 1]
        self.ApprovalResolved(self.log[number - 1][2], number, state)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64) -> ObjectPath:
        self.calls.append(("approve", id))
        self.settle(id, "approved", "")
        return names.job_path(2)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64) -> ObjectPath:
        self.calls.append(("approve now", id))
        self.settle(id, "approved", "")
        return names.job_path(2)

    @method(allow=OPERATOR)
    async def Diff(self, id: UInt64) -> Str:
        if not 0 < id <= len(self.log):
            raise NotFound(f"There is no request {id}.")
        return self.diff

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, note: Str) -> None:
        self.settle(id, "denied", note)

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> Approvals:
        return self.log

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...


class FakeHive:
    """All three, with a manager, alice (running) and bob (stopped)."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.lifecycle = FakeLifecycle()
        self.approvals = FakeApprovals()
        self.agents = {
            name: FakeAgent(name, state)
            for name, state in (("manager", "running"), ("alice", "running"), ("bob", "stopped"))
        }

    async def serve_broker(self, bus: Bus) -> None:
        bus.export(names.BROKER_PATH, self.broker)
        await bus.own(names.BROKER)

    async def restart_broker(self, bus: Bus) -> None:
        self.broker = FakeBroker(self.broker)
        await self.serve_broker(bus)

    async def serve_lifecycle(self, bus: Bus) -> None:
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.LIFECYCLE_PATH, self.lifecycle)
        for name, agent in self.agents.items():
            bus.export(names.agent_path(name), agent)
        await bus.own(names.LIFECYCLE)

    async def serve_approvals(self, bus: Bus) -> None:
        bus.export(names.APPROVALS_PATH, self.approvals)
        await bus.own(names.APPROVALS)
