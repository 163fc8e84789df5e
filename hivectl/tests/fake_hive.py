# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake hive on a private bus: the real interfaces, which keep what they are called with."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from hivectl.tests.fake_agent import SINCE, FakeAgent
from hivectl.tests.fake_approvals import FakeApprovals
from hivectl.tests.fake_changes import FakeChanges
from hivectl.tests.fake_projects import FakeProjects
from wire import names
from wire.bus import Bus
from wire.clients import systemd
from wire.errors import AlreadyExists, HiveError, NotFound
from wire.interface import Interface, method, prop, signal
from wire.principal import OPERATOR
from wire.records import broker as records
from wire.records import decode
from wire.records.broker import (
    AskOptions,
    HoldKind,
    Message,
    MessageChange,
    MessageFilter,
    MessageState,
    Purged,
    PurgeOptions,
    Question,
    QuestionFilter,
    QuestionState,
    Reminder,
    ReminderFilter,
    ReminderState,
    RemindOptions,
    SendOptions,
    Thread,
)
from wire.records.dashboard import Role, Session, Way
from wire.records.ledger import (
    Budget,
    BudgetLimits,
    Cost,
    CostFilter,
    Egress,
    EgressFilter,
    ProviderLimit,
    Request,
    Turn,
    TurnFilter,
    UsageFilter,
    UsageSum,
    UsageSumFilter,
)
from wire.records.lifecycle import JobResult, JobState, JobVerb, Tombstone
from wire.types import (
    Bool,
    Dict,
    Int64,
    ObjectPath,
    Str,
    StrList,
    UInt16,
    UInt32,
    UInt64,
    UInt64List,
)

R = TypeVar("R", Message, Question, Reminder)


class FakeJob(Interface, name=names.JOB_INTERFACE):
    @prop(const=True)
    def Id(self) -> UInt32:
        return 1

    @prop(const=True)
    def Agent(self) -> Str:
        return "alice"

    @prop(const=True)
    def Verb(self) -> JobVerb:
        return JobVerb.START

    @prop()
    def State(self) -> JobState:
        return JobState.RUNNING

    @signal()
    def Output(self, lines: StrList) -> None: ...


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.agents: dict[str, FakeAgent] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.jobs = 0
        self.tombstones = [Tombstone("carol", 3 * 2**20, SINCE)]
        self.waiting = ["alice"]
        self.result = (JobResult.DONE, "")
        self.ends: bool = True
        """Whether jobs end at once; else they run until the test says so."""
        self.on_job: Callable[[], None] = lambda: None
        self.on_steer: Callable[[str], None] = lambda _verb: None

    def add(self, name: str) -> FakeAgent:
        self.agents[name] = FakeAgent(self, name)
        self._bus.export(names.agent_path(name), self.agents[name])
        return self.agents[name]

    def job(self, agent: str, verb: str) -> str:
        self.jobs += 1
        self.calls.append((verb, agent))
        path = names.job_path(self.jobs)
        if self.ends:
            # Before the reply: a caller that subscribes after the call would miss the signal.
            self.JobRemoved(self.jobs, path, agent, verb, *self.result)
        self.on_job()
        return path

    def print_job(self, number: int, *lines: str) -> None:
        """Announce lines that a job prints."""
        job = FakeJob()
        self._bus.export(names.job_path(number), job)
        job.Output(list(lines))

    @method(allow=OPERATOR)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:
        if name in self.agents:
            raise AlreadyExists(f"There is an agent {name} already.")
        self.add(name)
        return self.job(name, "spawn")

    @method(allow=OPERATOR)
    async def Destroy(self, name: Str, purge: Bool) -> ObjectPath:
        self.calls.append(("purge", purge))
        return self.job(name, "destroy")

    @method(allow=OPERATOR)
    async def UpdateAll(self) -> StrList:
        return sorted(self.agents)

    @method(allow=OPERATOR)
    async def LiftLimits(self) -> StrList:
        waiting, self.waiting = self.waiting, []
        return waiting

    @method(allow=OPERATOR)
    async def ListTombstones(self) -> list[Tombstone]:
        return self.tombstones

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return self.job(name, "purge")

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, note: Str
    ) -> None: ...


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, SendOptions]] = []
        self.listed: list[tuple[MessageFilter | QuestionFilter, int]] = []
        self.acknowledged: list[int] = []
        self.messages: list[Message] = []
        self.questions: list[Question] = []
        self.reminders: list[Reminder] = []
        self.threads: list[Thread] = []
        self.holds: list[records.Hold] = []
        self.calls: list[tuple[Any, ...]] = []
        self.backup = "/var/lib/hyperhive/broker/backups/copy.sqlite"
        self.on_list: Callable[[], None] = lambda: None
        self.on_ask: Callable[[int], None] = lambda _number: None
        self.error: HiveError | None = None
        self.refusal: HiveError | None = None
        """The refusal of answers."""
        self.on_send: Callable[[int, str], None] = lambda _number, _body: None

    def queue(
        self, sender: str, body: str, kind: str = "message", to: str = "operator", **more: Any
    ) -> int:
        """Add a message; `more` are further fields of the record."""
        number = len(self.messages) + 1
        head = (number, sender, to, kind, body, SINCE)
        message = Message(*head, 0, False, 0, MessageState.QUEUED)
        self.messages.append(message._replace(**more))
        if to == "operator":
            self.OperatorMessageQueued(sender, number, kind)
        return number

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        if self.error:
            raise self.error
        if to == "nobody":
            raise NotFound("There is no agent nobody.")
        self.sent.append((to, body, decode(SendOptions, options)))
        number = 2**63 + len(self.sent)
        self.on_send(number, body)
        return number

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        wanted = decode(MessageFilter, filter)
        self.listed.append((wanted, limit))
        found = [m for m in self.messages if wanted.recipient in (None, m.recipient)]
        found = [m for m in found if wanted.state in (None, self._state(m))]
        found = [m for m in found if wanted.sender in (None, m.sender)]
        found = [m for m in found if wanted.before is None or m.id < wanted.before]
        found = [m for m in found if m.id > (wanted.after or 0)]
        found = [m for m in found if wanted.kind in (None, m.kind)]
        self.on_list()
        return found[-limit:]

    def _state(self, message: Message) -> MessageState:
        acknowledged = message.id in self.acknowledged
        return MessageState.ACKNOWLEDGED if acknowledged else message.state

    @method(allow=OPERATOR)
    async def CountMessages(self) -> list[records.MessageCount]:
        counted = Counter((m.recipient, self._state(m)) for m in self.messages)
        return [records.MessageCount(*key, number) for key, number in counted.items()]

    @method(allow=OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        self.acknowledged += ids

    @method(allow=OPERATOR)
    async def Retract(self, id: UInt64) -> None:
        if self.error:
            raise self.error
        self.calls.append(("retract", id))

    @method(allow=OPERATOR)
    async def ListHolds(self) -> list[records.Hold]:
        return self.holds

    @method(allow=OPERATOR)
    async def Hold(self, name: Str, text: Str) -> None:
        self.holds.append(records.Hold(name, HoldKind.OPERATOR, text, SINCE))

    @method(allow=OPERATOR)
    async def Unhold(self, name: Str) -> None:
        if not any(hold.agent == name for hold in self.holds):
            raise NotFound(f"{name!r} is not held.")
        self.holds = [hold for hold in self.holds if hold.agent != name]

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        self.calls.append(("requeue", *ids))

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        self.calls.append(("drop", *ids))

    @method(allow=OPERATOR)
    async def PurgeInbox(self, name: Str, options: Dict) -> Purged:
        self.calls.append(("purge-inbox", name, decode(PurgeOptions, options).sender))
        return Purged(dropped=597, leased=1)

    def question(
        self, sender: str, to: str, text: str, *choices: str, multi: bool = False, **more: Any
    ) -> int:
        """Add a question; `more` are further fields of the record."""
        number = len(self.questions) + 1
        head = (number, sender, to, text, list(choices), multi, SINCE, 0)
        question = Question(*head, QuestionState.OPEN, [], "", 0)
        self.questions.append(question._replace(**more))
        return number

    def resolve(self, number: int, state: QuestionState, *answer: str) -> None:
        """End a question as if bob had done it."""
        question = self.questions[number - 1]._replace(
            state=state, answer=list(answer), answered_by="bob", resolved=SINCE
        )
        self.questions[number - 1] = question
        self.QuestionResolved(question.asker, number, question.recipient, state)

    @method(allow=OPERATOR)
    async def Ask(self, to: Str, question: Str, options: Dict) -> UInt64:
        chosen = decode(AskOptions, options)
        self.calls.append(("ask", to, question, chosen))
        number = self.question(
            "operator", to, question, *(chosen.choices or []), multi=chosen.multi
        )
        self.on_ask(number)
        return number

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        if self.refusal:
            raise self.refusal
        self.calls.append(("answer", id, *answer))

    @method(allow=OPERATOR)
    async def Cancel(self, id: UInt64) -> None:
        self.calls.append(("cancel", id))

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        wanted = decode(QuestionFilter, filter)
        self.listed.append((wanted, limit))
        found = [q for q in self.questions if wanted.state in (None, q.state)]
        self.on_list()
        return _between(found, wanted)[-limit:]

    @method(allow=OPERATOR)
    async def Remind(self, due: Int64, body: Str, options: Dict) -> UInt64:
        chosen = decode(RemindOptions, options)
        self.calls.append(("remind", due, body, chosen))
        return self.remind("operator", due or SINCE + (chosen.after_s or 0) * 1_000_000, body)

    def remind(self, owner: str, due: int, body: str, file: str = "", **more: Any) -> int:
        """Add a reminder; `more` are further fields of the record."""
        number = len(self.reminders) + 1
        reminder = Reminder(number, owner, due, body, file, SINCE, ReminderState.PENDING, 0)
        self.reminders.append(reminder._replace(**more))
        return number

    @method(allow=OPERATOR)
    async def CancelReminder(self, id: UInt64) -> None:
        self.calls.append(("cancel reminder", id))

    @method(allow=OPERATOR)
    async def ListReminders(self, filter: Dict, limit: UInt32) -> list[Reminder]:
        wanted = decode(ReminderFilter, filter)
        found = [r for r in self.reminders if wanted.state in (None, r.state)]
        return _between(found, wanted)[-limit:]

    @method(allow=OPERATOR)
    async def OpenThreads(self) -> list[Thread]:
        return self.threads

    @method(allow=OPERATOR)
    async def Vacuum(self) -> UInt64:
        return 3

    @method(allow=OPERATOR)
    async def Backup(self, path: Str) -> Str:
        self.calls.append(("backup", path))
        return self.backup

    def end(self, number: int, state: MessageState) -> None:
        """Announce that a message of the operator has ended."""
        change = MessageChange(
            number, "operator", "alice", "message", state, "", 0, SINCE, 0, False, 0
        )
        self.MessagesChanged([change])

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...

    @signal()
    def OperatorMessageQueued(self, sender: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...


def _between(rows: list[R], wanted: QuestionFilter | ReminderFilter) -> list[R]:
    after, before = wanted.after or 0, wanted.before or 2**64
    return [row for row in rows if after < row.id < before]


class FakeDashboard(Interface, name=names.DASHBOARD):
    def __init__(self) -> None:
        self.sessions = [
            Session(3, Role.OPERATOR, Way.LINK, "", "127.0.0.1", "Firefox on Linux", *[SINCE] * 3),
            Session(5, Role.GUEST, Way.PROXY, "ada\x1b[2J", "10.0.0.7", "", *[SINCE] * 3),
        ]

    @method(allow=OPERATOR)
    async def LoginLink(self, role: Str) -> Str:
        return f"http://127.0.0.1:7000/login?token={role}"

    @method(allow=OPERATOR)
    async def ListSessions(self) -> list[Session]:
        return self.sessions

    @method(allow=OPERATOR)
    async def RevokeSession(self, id: UInt64) -> None:
        if id not in [one.id for one in self.sessions]:
            raise NotFound(f"There is no session {id}; `hivectl sessions` shows all.")
        self.sessions = [one for one in self.sessions if one.id != id]


class FakeLedger(Interface, name=names.LEDGER):
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.sums: list[Cost] = []
        self.asked: list[tuple[TurnFilter, int] | CostFilter] = []
        self.error: HiveError | None = None
        self.requests: list[Request] = []
        self.usage_sums: list[UsageSum] = []
        self.budgets: list[Budget] = []
        self.hosts: list[Egress] = []
        self.limits: list[ProviderLimit] = []
        self.calls: list[tuple[Any, ...]] = []

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        wanted = decode(TurnFilter, filter)
        self.asked.append((wanted, limit))
        found = [t for t in self.turns if wanted.agent in (None, t.agent)]
        found = [t for t in found if wanted.before is None or t.id < wanted.before]
        return sorted(found, key=lambda t: -t.id)[:limit]

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        if self.error:
            raise self.error
        self.asked.append(decode(CostFilter, filter))
        return self.sums

    @method(allow=OPERATOR)
    async def ListUsage(self, filter: Dict, limit: UInt32) -> list[Request]:
        wanted = decode(UsageFilter, filter)
        self.calls.append(("usage", wanted, limit))
        return [r for r in self.requests if wanted.agent in (None, r.agent)][:limit]

    @method(allow=OPERATOR)
    async def SumUsage(self, filter: Dict) -> list[UsageSum]:
        self.calls.append(("sum", decode(UsageSumFilter, filter)))
        return self.usage_sums

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        if self.error:
            raise self.error
        return self.budgets

    @method(allow=OPERATOR)
    async def ListLimits(self) -> list[ProviderLimit]:
        return self.limits

    @signal()
    def BudgetChanged(self, budget: Dict) -> None: ...

    @method(allow=OPERATOR)
    async def SetBudget(self, kind: Str, name: Str, limits: Dict) -> None:
        self.calls.append(("budget", kind, name, decode(BudgetLimits, limits)))

    @method(allow=OPERATOR)
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        if self.error:
            raise self.error
        wanted = decode(EgressFilter, filter)
        found = [e for e in self.hosts if wanted.agent in (None, e.agent)]
        found = [e for e in found if wanted.state in (None, e.state)]
        return sorted(found, key=lambda e: -e.last)[:limit]

    @method(allow=OPERATOR)
    async def DecideEgress(self, agent: Str, host: Str, port: UInt16, decision: Str) -> None:
        self.calls.append(("decide", agent, host, port, decision))

    @method(allow=OPERATOR)
    async def Vacuum(self) -> UInt64:
        return 1


class FakeSystemd(Interface, name=systemd.MANAGER):
    """systemd, which knows the units of the services."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.states: dict[str, str] = {}
        """The states of units that do not run."""

    @method(allow=OPERATOR)
    async def ListUnitsByNames(self, names: StrList) -> list[systemd.ListedUnit]:
        return [
            systemd.ListedUnit(
                *(name, "", "loaded", self.states.get(name, "active"), "", ""),
                *(systemd.unit_path(name), 0, "", "/"),
            )
            for name in names
        ]

    def fail(self, unit: str, sentence: str) -> None:
        """Show a unit as failed, with the last sentence of its service."""
        self.states[unit] = "failed"
        self._bus.export(systemd.unit_path(unit), FakeUnit(sentence))


class FakeUnit(Interface, name=systemd.SERVICE):
    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    @prop()
    def StatusText(self) -> Str:
        return self._sentence


class FakeHive:
    """All services on one connection."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.lifecycle = FakeLifecycle(bus)
        self.broker = FakeBroker()
        self.approvals = FakeApprovals(self.lifecycle)
        self.ledger = FakeLedger()
        self.projects = FakeProjects()
        self.changes = FakeChanges()
        self.systemd = FakeSystemd(bus)

    async def up(self) -> None:
        bus = self.bus
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.LIFECYCLE_PATH, self.lifecycle)
        bus.export(names.BROKER_PATH, self.broker)
        bus.export(names.APPROVALS_PATH, self.approvals)
        bus.export(names.DASHBOARD_PATH, FakeDashboard())
        bus.export(names.LEDGER_PATH, self.ledger)
        bus.export(names.PROJECTS_PATH, self.projects)
        bus.export(names.PROJECTS_PATH, self.changes)
        bus.export(systemd.SYSTEMD_PATH, self.systemd)
        for name in (*names.SERVICE_UNITS, systemd.SYSTEMD):
            await bus.own(name)
        for agent in ("manager", "alice", "bob-2"):
            self.lifecycle.add(agent)
