"""Fakes of the services on a private bus: they answer with what tests put into them."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
import difflib
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from wire import fake_agent, names
from wire.bus import Bus
from wire.errors import Conflict, InvalidArgument, NotFound, Unavailable
from wire.interface import Interface, method, prop, signal
from wire.principal import OPERATOR
from wire.records import decode, to_dict
from wire.records.approvals import (
    Allowed,
    Approval,
    ApprovalFilter,
    ApprovalKind,
    ApprovalOptions,
    ApprovalState,
    Change,
    Comparison,
    ConfigFile,
    ConfigureOptions,
    Deploy,
    SpawnRequestOptions,
)
from wire.records.broker import (
    PREVIEW,
    Message,
    MessageChange,
    MessageCount,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
    Reminder,
    ReminderFilter,
    ReminderState,
    SendOptions,
)
from wire.records.ledger import (
    Budget,
    Cost,
    CostFilter,
    CostKey,
    Egress,
    EgressFilter,
    EgressState,
    ProviderLimit,
    Request,
    RequestOutcome,
    Turn,
    TurnFilter,
    UsageFilter,
    UsageSum,
    UsageSumFilter,
)
from wire.records.lifecycle import (
    AgentState,
    CancelOptions,
    LogEntry,
    LogFilter,
    LoginPage,
    Network,
    ResourceChanges,
    Resources,
    Tombstone,
    TurnState,
    Usage,
)
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

NOW = 1_780_000_000_000_000


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self, earlier: "FakeBroker | None" = None) -> None:
        """Begin with nothing, or with the content of `earlier`."""
        self.log: list[Message] = earlier.log if earlier else []
        self.read: list[int] = earlier.read if earlier else []
        self.questions: list[Question] = earlier.questions if earlier else []
        self.reminders: list[Reminder] = earlier.reminders if earlier else []
        self.freely: list[int] = []
        """The questions that were answered with `AnswerFreely`."""
        self.answering: asyncio.Event | None = None
        """If given, answers wait for it."""
        self._listing = asyncio.Event()
        self.counted = 0
        self.unheld: list[str] = []

    @method(allow=OPERATOR)
    async def Unhold(self, name: Str) -> None:
        self.unheld.append(name)

    def message(self, number: int) -> Message:
        if not 0 < number <= len(self.log):
            raise NotFound(f"There is no message {number}.")
        return self.log[number - 1]

    def add(
        self, sender: str, to: str, body: str, kind: str = "message", in_reply_to: int = 0
    ) -> int:
        number = len(self.log) + 1
        self.log.append(
            Message(
                id=number,
                sender=sender,
                recipient=to,
                kind=kind,
                body=body,
                queued=NOW + number,
                redeliveries=0,
                urgent=False,
                in_reply_to=in_reply_to,
                state=MessageState.QUEUED,
            )
        )
        return number

    def arrive(self, sender: str, to: str, body: str, in_reply_to: int = 0) -> int:
        number = self.add(sender, to, body, in_reply_to=in_reply_to)
        self.changed(number)
        return number

    def move(self, number: int, state: MessageState, redeliveries: int) -> None:
        """Change the state of a message, and announce that without its text."""
        self.log[number - 1] = self._set(number, state)._replace(redeliveries=redeliveries)
        self.changed(number, text=False)

    def changed(self, number: int, *, text: bool = True) -> None:
        """Announce the present state of a message."""
        m = self.message(number)
        body = m.body if text else ""
        self.MessagesChanged(
            [
                MessageChange(
                    m.id, m.sender, m.recipient, m.kind, m.state, body[:PREVIEW], len(body),
                    m.queued, m.redeliveries, m.urgent, m.in_reply_to, m.reason,
                )
            ]
        )  # fmt: skip

    def _set(self, number: int, state: MessageState) -> Message:
        self.log[number - 1] = message = self.message(number)._replace(state=state)
        return message

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        if to not in ("manager", "alice", "bob", "*"):
            raise NotFound(f"There is no agent {to}.")
        wanted = decode(SendOptions, options)
        return self.arrive("operator", to, body, wanted.in_reply_to or 0)

    @method(allow=OPERATOR)
    async def CountMessages(self) -> list[MessageCount]:
        self.counted += 1
        inboxes = Counter((m.recipient, m.state) for m in self.log)
        open_ = (MessageState.QUEUED, MessageState.LEASED, MessageState.DEAD)
        return [MessageCount(*key, n) for key, n in sorted(inboxes.items()) if key[1] in open_]

    @method(allow=OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        for number in ids:
            self.read.append(number)
            self._set(number, MessageState.ACKNOWLEDGED)
            self.changed(number, text=False)

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        wanted = decode(MessageFilter, filter)
        found = [
            one
            for one in self.log
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.recipient in (None, one.recipient)
            and wanted.agent in (None, one.sender, one.recipient)
            and wanted.state in (None, one.state)
            and wanted.kind in (None, one.kind)
            and (wanted.since or 0) <= one.queued < (wanted.until or 2**63)
            and (wanted.thread is None or one.id in self._thread(wanted.thread))
            and all(word in one.body for word in (wanted.text or "").split())
        ]
        return found[-limit:]

    def _thread(self, number: int) -> set[int]:
        thread = set()
        while 0 < number <= len(self.log):
            thread.add(number)
            number = self.log[number - 1].in_reply_to
        for one in self.log:
            if one.in_reply_to in thread:
                thread.add(one.id)
        return thread

    def remind(self, owner: str, due: int, body: str, file: str = "") -> int:
        """Set a reminder."""
        number = len(self.reminders) + 1
        state = ReminderState.PENDING
        self.reminders.append(Reminder(number, owner, due, body, file, NOW, state, 0))
        self.ReminderAdded(owner, number)
        return number

    @method(allow=OPERATOR)
    async def CancelReminder(self, id: UInt64) -> None:
        if not 0 < id <= len(self.reminders):
            raise NotFound(f"There is no reminder {id}.")
        self.reminders[id - 1] = gone = self.reminders[id - 1]._replace(
            state=ReminderState.CANCELLED
        )
        self.ReminderCancelled(gone.owner, id)

    @method(allow=OPERATOR)
    async def ListReminders(self, filter: Dict, limit: UInt32) -> list[Reminder]:
        wanted = decode(ReminderFilter, filter)
        found = [
            one
            for one in self.reminders
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.state in (None, one.state)
        ]
        return found[-limit:]

    def ask(
        self, sender: str, to: str, text: str, *choices: str, multi: bool = False, **more: Any
    ) -> int:
        """Ask a question; `more` are further fields of the record."""
        number = len(self.questions) + 1
        self.questions.append(
            Question(
                id=number,
                asker=sender,
                recipient=to,
                text=text,
                choices=list(choices),
                multi=multi,
                asked=NOW + number,
                deadline=NOW + 10**9,
                state=QuestionState.OPEN,
                answer=[],
                answered_by="",
                resolved=0,
            )._replace(**more)
        )
        self.QuestionAdded(to, number, sender)
        return number

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        if self.answering is not None:
            await self.answering.wait()
        if answer == ["too late"]:
            raise Conflict("This question was answered already.")
        if not 0 < id <= len(self.questions):
            raise NotFound(f"There is no question {id}.")
        known = self.questions[id - 1].state
        if known is not QuestionState.OPEN:
            raise Conflict(f"Question {id} is no longer open: it is {known} by operator.")
        self.questions[id - 1] = question = self.questions[id - 1]._replace(
            state=QuestionState.ANSWERED,
            answer=answer,
            answered_by="operator",
            resolved=NOW + 1000,
        )
        self.QuestionResolved(question.asker, id, "operator", "answered")

    @method(allow=OPERATOR)
    async def AnswerFreely(self, id: UInt64, answer: StrList) -> None:
        self.freely.append(id)
        await self.Answer(id, answer)

    @method(allow=OPERATOR)
    async def Cancel(self, id: UInt64) -> None:
        if not 0 < id <= len(self.questions):
            raise NotFound(f"There is no question {id}.")
        self.cancel(id)

    def cancel(self, number: int) -> None:
        """Cancel a question, as its asker does."""
        self.questions[number - 1] = question = self.questions[number - 1]._replace(
            state=QuestionState.CANCELLED, resolved=NOW + 1000
        )
        self.QuestionResolved(question.asker, number, question.recipient, "cancelled")

    async def listed(self) -> None:
        """Wait until somebody asks for the questions."""
        await self._listing.wait()

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        self._listing.set()
        self._listing = asyncio.Event()
        wanted = decode(QuestionFilter, filter)
        found = [
            one
            for one in self.questions
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.recipient in (None, one.recipient)
            and wanted.agent in (None, one.asker, one.recipient)
            and wanted.state in (None, one.state)
        ]
        return found[-limit:]

    def park(self, number: int, reason: str = "") -> None:
        dead = self._set(number, MessageState.DEAD)
        self.log[number - 1] = dead._replace(reason=reason)
        self.changed(number)

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        for number in ids:
            self._set(number, MessageState.QUEUED)
            self.changed(number)

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        for number in ids:
            self._set(number, MessageState.DROPPED)
            self.changed(number)

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...

    @signal()
    def ReminderAdded(self, owner: Str, id: UInt64) -> None: ...

    @signal()
    def ReminderCancelled(self, owner: Str, id: UInt64) -> None: ...


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    def __init__(self) -> None:
        self.destroyed: list[tuple[str, bool]] = []
        self.kept: list[Tombstone] = []
        self.orders: list[tuple[str, str]] = []
        self.lines: list[LogEntry] = []
        self.wanted: list[LogFilter] = []
        self._logged = asyncio.Event()

    def write(self, message: str, **values: Any) -> None:
        """Write a line of the journal."""
        number = len(self.lines) + 1
        unit = "hive-broker.service"
        line = LogEntry(f"c{number}", NOW + number, 6, unit, "hive-broker", 7, message)
        self.lines.append(line._replace(**values))
        self._logged.set()
        self._logged = asyncio.Event()

    @method(allow=OPERATOR)
    async def ReadLogs(self, filter: Dict, limit: UInt32) -> list[LogEntry]:
        wanted = decode(LogFilter, filter)
        self.wanted.append(wanted)
        while True:
            logged, found = self._logged, list(self.lines)
            places = [line.cursor for line in found]
            for place in (wanted.before, wanted.after):
                if place and place not in places:
                    raise InvalidArgument(f"{place!r} is not a cursor.")
            if wanted.before:
                found = found[: places.index(wanted.before)]
            if wanted.after:
                found = found[places.index(wanted.after) + 1 :]
            found = [one for one in found if one.priority <= (wanted.priority or 7)]
            found = [one for one in found if wanted.unit in (None, one.unit)]
            found = [one for one in found if wanted.text in one.message]
            if found or not wanted.wait:
                return found[-limit:]
            await logged.wait()

    @method(allow=OPERATOR)
    async def Destroy(self, name: Str, purge: Bool) -> ObjectPath:
        self.destroyed.append((name, purge))
        return names.job_path(3)

    @method(allow=OPERATOR)
    async def ListTombstones(self) -> list[Tombstone]:
        return self.kept

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return self._order("purge", name)

    @method(allow=OPERATOR)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:
        return self._order("spawn", name)

    def _order(self, verb: str, name: str) -> str:
        """Do at once what the job does."""
        self.orders.append((verb, name))
        self.kept = [kept for kept in self.kept if kept.name != name]
        job = names.job_path(3)
        self.JobNew(3, job, name, verb)
        self.JobRemoved(3, job, name, verb, "done", "")
        return job

    @signal()
    def JobNew(self, id: UInt32, job: ObjectPath, agent: Str, verb: Str) -> None: ...

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class FakeJob(Interface, name=names.JOB_INTERFACE):
    def __init__(self, agent: str, verb: str, lines: list[str]) -> None:
        self.agent = agent
        self.verb = verb
        self.lines = lines

    @method(allow=OPERATOR)
    async def GetOutput(self) -> StrList:
        return self.lines

    @prop(const=True)
    def Id(self) -> UInt32:
        return 2

    @prop(const=True)
    def Agent(self) -> Str:
        return self.agent

    @prop(const=True)
    def Verb(self) -> Str:
        return self.verb

    @prop()
    def State(self) -> Str:
        return "running"

    @signal()
    def Output(self, lines: StrList) -> None: ...

    def print(self, *lines: str) -> None:
        """Tell further lines of the work."""
        self.lines += lines
        self.Output(list(lines))


class FakeAgent(fake_agent.FakeAgent, name=names.AGENT_INTERFACE):
    def __init__(self, name: str, state: str = "running") -> None:
        super().__init__(
            fake_agent.properties(
                name,
                machine=f"hive-{name}",
                unit=f"systemd-nspawn@hive-{name}.service",
                state=AgentState(state),
                since=NOW,
                turn_state=TurnState.IDLE if state == "running" else TurnState.OFFLINE,
                turn_since=NOW,
                model="claude-test",
                context_tokens=1234,
                resources=Resources(memory_max=2 * 2**30, tasks_max=4096),
                network=Network(
                    deny=["localhost", "10.0.0.0/8"],
                    allow=["10.0.0.1"],
                    name_servers=[],
                    filtered=True,
                ),
                port=8123,
                deployed_commit="0123456789abcdef" * 2,
            )
        )
        self.calls: list[str] = []
        self.refuses = False
        """Whether its jobs are refused."""
        self.limits: list[dict[str, object]] = []
        self.usage = Usage(cpu=1_500_000, memory=50 * 2**20, memory_peak=3 * 2**30)
        self.commands: list[tuple[object, ...]] = []
        self.refusal = ""
        """The reason why commands are refused."""
        self.away = ""
        """The reason why commands do not reach the harness."""
        self.login = 7
        """The number of the login that runs, or of the next one."""
        self.address = "https://claude.com/cai/oauth/authorize?code=true&state=s1"
        self.usages = 0
        self.lines = [f"{name} line {number}" for number in range(150)]

    def become(self, state: str) -> None:
        self.show(state=AgentState(state))

    def _command(self, *command: object) -> str:
        if self.away:
            raise Unavailable(self.away)
        if self.refusal:
            raise Conflict(self.refusal)
        self.commands.append(command)
        return f"{command[0]} is done."

    @method(allow=OPERATOR)
    async def CancelTurn(self, options: Dict) -> Str:
        return self._command("cancel", decode(CancelOptions, options).requeue)

    @method(allow=OPERATOR)
    async def Compact(self) -> Str:
        return self._command("compact")

    @method(allow=OPERATOR)
    async def NewSession(self) -> Str:
        return self._command("new-session")

    @method(allow=OPERATOR)
    async def SetModel(self, model: Str) -> Str:
        return self._command("model", model)

    @method(allow=OPERATOR)
    async def SetEffort(self, effort: Str) -> Str:
        return self._command("effort", effort)

    @method(allow=OPERATOR)
    async def BeginLogin(self) -> LoginPage:
        self._command("login")
        return LoginPage(self.login, self.address)

    @method(allow=OPERATOR)
    async def EnterLoginCode(self, login: UInt64, code: Str) -> Str:
        if login != self.login:
            raise Conflict("This login is over. Begin a new one.")
        self._command("login-code", login, code)
        self.login += 1
        return "alice is logged in."

    @method(allow=OPERATOR)
    async def CancelLogin(self, login: UInt64) -> Str:
        self._command("login-cancel", login)
        self.login += 1
        return "The login was cancelled."

    @method(allow=OPERATOR)
    async def GetUsage(self) -> Usage:
        self.usages += 1
        if self.shown.state is not AgentState.RUNNING:
            return Usage()
        return self.usage

    @method(allow=OPERATOR)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return self.lines[-lines:]

    def _job(self, verb: str) -> str:
        if self.refuses:
            raise Conflict(f"{self.shown.name} is busy.")
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

    @method(allow=OPERATOR)
    async def Rebuild(self) -> ObjectPath:
        return self._job("rebuild")

    @method(allow=OPERATOR)
    async def Update(self) -> ObjectPath:
        return self._job("update")

    @method(allow=OPERATOR)
    async def Pause(self) -> None:
        self._job("pause")
        self.become("paused")

    @method(allow=OPERATOR)
    async def Resume(self) -> None:
        self._job("resume")
        self.become("running")

    @method(allow=OPERATOR)
    async def SetResources(self, resources: Dict) -> None:
        changes = {
            key: value
            for key, value in decode(ResourceChanges, resources)._asdict().items()
            if value is not None
        }
        self.limits.append(changes)


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self) -> None:
        self.log: list[Approval] = []
        self.calls: list[tuple[str, int]] = []
        self.allowed: list[tuple[str, str, str]] = []
        self.diff = "+a new line\n"
        self.base = "b" * 40
        self.hold = asyncio.Event()
        """Set unless files are not answered yet."""
        self.hold.set()
        self.configs = {"agent.toml": 'model = "small"\n', "notes/plan.md": "Wait.\n"}
        """The files of alice."""
        self.deploys = [
            Deploy(NOW, "alice", "0123456789abcdef" * 2, 7, "manager", "More memory for the tests")
        ]
        self.saved: list[tuple[object, ...]] = []
        self.spawned: list[tuple[str, str, str | None]] = []
        self.against: list[str] = []

    @method(allow=OPERATOR)
    async def DeployLog(self, agent: Str, limit: UInt32) -> list[Deploy]:
        found = [deploy for deploy in self.deploys if agent in ("", deploy.agent)]
        return found[:limit]

    @method(allow=OPERATOR)
    async def DiffDeploy(self, agent: Str, tag: Str) -> Change:
        return Change(self.diff, self.base)

    @method(allow=OPERATOR)
    async def Revert(self, agent: Str, tag: Str) -> UInt64:
        return self.ask(agent, f"Back to {tag}", "revert", by="operator")

    @method(allow=OPERATOR)
    async def Withdraw(self, id: UInt64) -> None:
        self.calls.append(("withdraw", id))
        self.settle(id, "withdrawn", "By the operator.")

    @method(allow=OPERATOR)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        if name == "alice":
            raise Conflict("The agent alice already exists; choose another name.")
        config = decode(SpawnRequestOptions, options).config
        self.spawned.append((name, reason, config))
        return self.ask(name, reason, "spawn", by="operator")

    @method(allow=OPERATOR)
    async def GetFile(self, agent: Str, path: Str) -> ConfigFile:
        if agent != "alice":
            raise NotFound(f"There is no agent {agent}.")
        if path not in self.configs:
            raise NotFound(f"There is no file {path}.")
        await self.hold.wait()
        return ConfigFile(self.configs[path], self.base, list(self.configs))

    @method(allow=OPERATOR)
    async def CompareFile(self, agent: Str, path: Str, text: Str) -> Change:
        if path not in self.configs:
            raise NotFound(f"There is no file {path}.")
        if text == self.configs[path]:
            raise Conflict(f"{path} of {agent} is deployed as it is: there is no change.")
        lines = difflib.unified_diff(
            self.configs[path].splitlines(), text.splitlines(), f"a/{path}", f"b/{path}"
        )
        diff = "\n".join(line.rstrip("\n") for line in lines)
        return Change(f"diff --git a/{path} b/{path}\n{diff}\n", self.base)

    @method(allow=OPERATOR)
    async def Configure(
        self, agent: Str, path: Str, text: Str, base: Str, options: Dict
    ) -> Allowed:
        wanted = decode(ConfigureOptions, options)
        if base != self.base:
            raise Conflict(f"{agent} has {self.base[:12]} deployed now: nothing was done.")
        self.saved.append((agent, path, text, wanted.reason, wanted.now))
        self.configs[path] = text
        self.base = "c" * 40
        return Allowed(9, names.job_path(2))

    def ask(self, agent: str, reason: str, kind: str = "spawn", *, by: str = "manager") -> int:
        number = len(self.log) + 1
        self.log.append(
            Approval(
                id=number,
                kind=ApprovalKind(kind),
                agent=agent,
                commit=f"{number:040x}",
                reason=reason,
                requested_by=by,
                requested=NOW,
                state=ApprovalState.PENDING,
                note="",
                resolved=0,
            )
        )
        self.ApprovalAdded(agent, number, kind)
        return number

    def settle(self, number: int, state: str, note: str) -> None:
        if not 0 < number <= len(self.log):
            raise NotFound(f"There is no request {number}.")
        self.log[number - 1] = approval = self.log[number - 1]._replace(
            state=ApprovalState(state), note=note, resolved=NOW + 1
        )
        self.ApprovalResolved(approval.agent, number, state)

    @method(allow=OPERATOR)
    async def AllowTool(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        if rule == "Refused":
            raise Conflict("The agent.toml of alice already allows Refused.")
        self.allowed.append((agent, rule, reason))
        return Allowed(8, names.job_path(2))

    @method(allow=OPERATOR)
    async def AllowEgress(self, agent: Str, rule: Str, reason: Str) -> Allowed:
        if rule == "refused.example:443":
            raise Conflict("The agent.toml of alice already allows refused.example.")
        self.allowed.append((agent, rule, reason))
        return Allowed(8, names.job_path(2))

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        self._decide("approve", id, commit, options)
        self.settle(id, "approved", "")
        return names.job_path(2)

    @method(allow=OPERATOR)
    async def ApproveNow(self, id: UInt64, commit: Str, options: Dict) -> ObjectPath:
        self._decide("approve now", id, commit, options)
        self.settle(id, "approved", "")
        return names.job_path(2)

    def _decide(self, how: str, id: int, commit: str, options: Mapping[str, object]) -> None:
        self.calls.append((how, id))
        base = decode(ApprovalOptions, options).base
        if not 0 < id <= len(self.log):
            raise NotFound(f"There is no request {id}.")
        approval = self.log[id - 1]
        if approval.state is not ApprovalState.PENDING:
            raise Conflict(f"Request {id} for {approval.agent} is already {approval.state}.")
        if commit != approval.commit:
            raise Conflict(f"Request {id} is about another commit, not {commit}.")
        if base not in (None, self.base):
            raise Conflict(f"The change was shown against {base}.")

    @method(allow=OPERATOR)
    async def DiffAgainst(self, id: UInt64, base: Str) -> Comparison:
        self.against.append(base)
        if not 0 < id <= len(self.log):
            raise NotFound(f"There is no request {id}.")
        if base == "previous":
            raise NotFound(f"There is no request for {self.log[id - 1].agent} before {id}.")
        if base == "approved":
            return Comparison("+since the approved one\n", "a" * 40, self.base)
        return Comparison(self.diff, self.base, self.base)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        self._decide("deny", id, commit, {})
        self.settle(id, "denied", note)

    @method(allow=OPERATOR)
    async def List(self, filter: Dict) -> list[Approval]:
        wanted = decode(ApprovalFilter, filter)
        found = [
            one
            for one in self.log
            if wanted.id in (None, one.id) and one.id < (wanted.before or 2**63)
        ]
        return found[-(wanted.limit or 1000) :]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...


class FakeLedger(Interface, name=names.LEDGER):
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.days: list[Cost] = []
        self.budgets: list[Budget] = []
        self.hosts: list[Egress] = []
        self.decided: list[tuple[str, str, int, str]] = []
        self.requests: list[Request] = []
        self.sums: dict[str, list[UsageSum]] = {}
        """The answers of SumUsage, by the key."""
        self.asked: list[UsageSumFilter] = []
        self.limits: list[ProviderLimit] = []
        self.set: list[tuple[str, str, dict[str, object]]] = []

    def settle(self, agent: str, model: str, **values: Any) -> None:
        """End a request to the model API."""
        request = Request(1, agent, "default", model, RequestOutcome.DONE, NOW, NOW + 1000)
        self.RequestSettled(to_dict(request._replace(**values)))

    def spend(self, budget: Budget) -> None:
        """Put a budget in place of the one of the same kind, name and period."""
        self.budgets = [known for known in self.budgets if known[:3] != budget[:3]] + [budget]
        self.BudgetChanged(to_dict(budget))

    def refuse(self, agent: str, host: str, port: int = 443, **values: Any) -> None:
        """Refuse a host to an agent once more."""
        known = next((e for e in self.hosts if e[:3] == (agent, host, port)), None)
        now = time.time_ns() // 1000
        entry = known or Egress(agent, host, port, EgressState.PENDING, now, now)
        entry = entry._replace(last=now, refused=entry.refused + 1)._replace(**values)
        self.hosts = [e for e in self.hosts if e[:3] != entry[:3]] + [entry]
        self.EgressChanged(to_dict(entry))

    def record(self, agent: str, cost: int, **values: Any) -> None:
        """Record a turn of now."""
        now, number = time.time_ns() // 1000, len(self.turns) + 1
        turn = Turn(turn=number, started=now - 5_000_000, ended=now, outcome="done", cost=cost)
        turn = turn._replace(id=number, agent=agent, **values)
        self.turns.append(turn)
        self.TurnRecorded(agent, number, turn.started, cost)

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        wanted = decode(TurnFilter, filter)
        found = [turn for turn in reversed(self.turns) if wanted.agent in (None, turn.agent)]
        return [turn for turn in found if turn.id < (wanted.before or 2**63)][:limit]

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        wanted = decode(CostFilter, filter)
        if wanted.by == CostKey.DAY and self.days:
            return self.days
        sums: dict[str, Cost] = {}
        for turn in self.turns:
            if wanted.agent in (None, turn.agent) and turn.started >= (wanted.since or 0):
                key = turn.agent if wanted.by == CostKey.AGENT else "2026-05-28"
                known = sums.get(key, Cost(key, 0, 0, 0, 0, 0, 0, 0))
                sums[key] = known._replace(
                    turns=known.turns + 1,
                    duration=known.duration + turn.duration,
                    cost=known.cost + turn.cost,
                )
        return list(sums.values())

    @method(allow=OPERATOR)
    async def SumUsage(self, filter: Dict) -> list[UsageSum]:
        wanted = decode(UsageSumFilter, filter)
        self.asked.append(wanted)
        return self.sums.get(wanted.by, [])

    @method(allow=OPERATOR)
    async def ListUsage(self, filter: Dict, limit: UInt32) -> list[Request]:
        wanted = decode(UsageFilter, filter)
        found = [one for one in reversed(self.requests) if wanted.agent in (None, one.agent)]
        return [one for one in found if one.id < (wanted.before or 2**63)][:limit]

    @method(allow=OPERATOR)
    async def ListLimits(self) -> list[ProviderLimit]:
        return self.limits

    def limit(self, limit: ProviderLimit) -> None:
        """Tell the limit of a provider."""
        self.limits = [limit]
        self.ProviderLimitChanged(limit.credential, limit.until)

    @method(allow=OPERATOR)
    async def SetBudget(self, kind: Str, name: Str, limits: Dict) -> None:
        self.set.append((kind, name, limits))

    @method(allow=OPERATOR)
    async def ListBudgets(self) -> list[Budget]:
        return self.budgets

    @method(allow=OPERATOR)
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        wanted = decode(EgressFilter, filter)
        found = [e for e in self.hosts if wanted.agent in (None, e.agent)]
        found = [e for e in found if wanted.state in (None, e.state)]
        return sorted(found, key=lambda e: -e.last)[:limit]

    @method(allow=OPERATOR)
    async def DecideEgress(self, agent: Str, host: Str, port: UInt16, decision: Str) -> None:
        self.decided.append((agent, host, port, decision))
        state = {"once": EgressState.ONCE, "deny": EgressState.DENIED}[decision]
        if not any(e[:3] == (agent, host, port) for e in self.hosts):
            raise NotFound(f"{host}:{port} was not refused to {agent}.")
        self.refuse(agent, host, port, state=state)

    @signal()
    def RequestSettled(self, request: Dict) -> None: ...

    @signal()
    def ProviderLimitChanged(self, credential: Str, until: Int64) -> None: ...

    @signal()
    def BudgetChanged(self, budget: Dict) -> None: ...

    @signal()
    def EgressChanged(self, host: Dict) -> None: ...

    @signal()
    def TurnRecorded(self, agent: Str, id: UInt64, started: Int64, cost: UInt64) -> None: ...


class FakeHive:
    """All of them, with a manager, alice (running) and bob (stopped)."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.lifecycle = FakeLifecycle()
        self.approvals = FakeApprovals()
        self.ledger = FakeLedger()
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

    async def serve_ledger(self, bus: Bus) -> None:
        bus.export(names.LEDGER_PATH, self.ledger)
        await bus.own(names.LEDGER)
