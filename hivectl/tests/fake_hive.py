# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A hive of paper on a private bus: the real interfaces, and behind them nothing but a record."""

from collections.abc import Callable
from typing import Annotated, Any

from hivectl.tests.fake_agent import SINCE, FakeAgent
from hivectl.tests.fake_approvals import FakeApprovals
from wire import names
from wire.bus import Bus
from wire.errors import AlreadyExists, HiveError, NotFound
from wire.interface import Interface, method, prop, signal
from wire.principal import OPERATOR
from wire.types import (
    Bool,
    Dict,
    DictList,
    Int64,
    Messages,
    ObjectPath,
    Questions,
    Reminders,
    Signature,
    Str,
    StrList,
    UInt32,
    UInt64,
    UInt64List,
)

Tombstones = Annotated[list[list[Any]], Signature("a(stx)")]


class FakeJob(Interface, name=names.JOB_INTERFACE):
    @prop(const=True)
    def Id(self) -> UInt32:
        return 1

    @prop(const=True)
    def Agent(self) -> Str:
        return "alice"

    @prop(const=True)
    def Verb(self) -> Str:
        return "start"


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.agents: dict[str, FakeAgent] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.jobs = 0
        self.result = ("done", "")
        self.ends: bool = True
        """Whether jobs end at once; else they run until the test says so."""
        self.on_job: Callable[[], None] = lambda: None

    def add(self, name: str) -> FakeAgent:
        self.agents[name] = FakeAgent(self, name)
        self._bus.export(names.agent_path(name), self.agents[name])
        return self.agents[name]

    def job(self, agent: str, verb: str) -> str:
        self.jobs += 1
        self.calls.append((verb, agent))
        path = names.job_path(self.jobs)
        if self.ends:
            # Before the reply: whoever subscribes after the call would miss it.
            self.JobRemoved(self.jobs, path, agent, verb, *self.result)
        self.on_job()
        return path

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
    async def ListTombstones(self) -> Tombstones:
        return [["carol", 3 * 2**20, SINCE]]

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return self.job(name, "purge")

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, note: Str
    ) -> None: ...


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.listed: list[tuple[dict[str, Any], int]] = []
        self.acknowledged: list[int] = []
        self.messages: list[list[Any]] = []
        self.questions: list[list[Any]] = []
        self.reminders: list[list[Any]] = []
        self.threads: list[dict[str, Any]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.backup = "/var/lib/hyperhive/broker/backups/copy.sqlite"
        self.on_list: Callable[[], None] = lambda: None
        self.on_ask: Callable[[int], None] = lambda _number: None
        self.error: HiveError | None = None

    def queue(self, sender: str, body: str, kind: str = "message", to: str = "operator") -> int:
        number = len(self.messages) + 1
        head = [number, sender, to, kind, body, SINCE]
        self.messages.append([*head, 0, False, 0, "queued", "", False])
        self.MessageQueued(to, number, sender, kind)
        return number

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        if self.error:
            raise self.error
        if to == "nobody":
            raise NotFound("There is no agent nobody.")
        self.sent.append((to, body, options))
        return 2**63 + len(self.sent)

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> Messages:
        self.listed.append((filter, limit))
        wanted = dict(filter)
        found = [m for m in self.messages if m[2] == wanted.get("to", m[2])]
        if wanted.get("state") == "queued":
            found = [m for m in found if m[0] not in self.acknowledged]
        elif state := wanted.get("state"):
            found = [m for m in found if m[9] == state]
        self.on_list()
        return found

    @method(allow=OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        self.acknowledged += ids

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        self.calls.append(("requeue", *ids))

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        self.calls.append(("drop", *ids))

    def question(
        self, sender: str, to: str, text: str, *choices: str, multi: bool = False
    ) -> list[Any]:
        """Let somebody have asked; the answered fields can be changed in what is returned."""
        number = len(self.questions) + 1
        head = [number, sender, to, text, list(choices), multi, SINCE, 0]
        self.questions.append([*head, "open", [], "", 0])
        return self.questions[-1]

    def resolve(self, number: int, state: str, *answer: str) -> None:
        question = self.questions[number - 1]
        question[8:] = [state, list(answer), "bob", SINCE]
        self.QuestionResolved(question[1], number, question[2], state)

    @method(allow=OPERATOR)
    async def Ask(self, to: Str, question: Str, options: Dict) -> UInt64:
        self.calls.append(("ask", to, question, options))
        asked = self.question(
            "operator", to, question, *options.get("choices", []), multi=options.get("multi", False)
        )
        self.on_ask(asked[0])
        return int(asked[0])

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        self.calls.append(("answer", id, *answer))

    @method(allow=OPERATOR)
    async def Cancel(self, id: UInt64) -> None:
        self.calls.append(("cancel", id))

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> Questions:
        self.listed.append((filter, limit))
        found = [q for q in self.questions if q[8] == filter.get("state", q[8])]
        self.on_list()
        return _between(found, filter)

    @method(allow=OPERATOR)
    async def Remind(self, due: Int64, body: Str, options: Dict) -> UInt64:
        self.calls.append(("remind", due, body, options))
        number = len(self.reminders) + 1
        due = due or SINCE + options["after_s"] * 1_000_000
        self.reminders.append([number, "operator", due, body, "", SINCE, "pending", 0])
        return number

    @method(allow=OPERATOR)
    async def CancelReminder(self, id: UInt64) -> None:
        self.calls.append(("cancel reminder", id))

    @method(allow=OPERATOR)
    async def ListReminders(self, filter: Dict, limit: UInt32) -> Reminders:
        found = [r for r in self.reminders if r[6] == filter.get("state", r[6])]
        return _between(found, filter)

    @method(allow=OPERATOR)
    async def OpenThreads(self) -> DictList:
        return self.threads

    @method(allow=OPERATOR)
    async def Vacuum(self) -> UInt64:
        return 3

    @method(allow=OPERATOR)
    async def Backup(self, path: Str) -> Str:
        self.calls.append(("backup", path))
        return self.backup

    @signal()
    def MessageQueued(self, to: Str, id: UInt64, sender: Str, kind: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...


def _between(rows: list[list[Any]], wanted: dict[str, Any]) -> list[list[Any]]:
    after, before = wanted.get("after", 0), wanted.get("before", 2**64)
    return [row for row in rows if after < row[0] < before]


class FakeDashboard(Interface, name=names.DASHBOARD):
    @method(allow=OPERATOR)
    async def LoginLink(self) -> Str:
        return "http://127.0.0.1:7000/login?token=abc"


class FakeHive:
    """All four services on one connection."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.lifecycle = FakeLifecycle(bus)
        self.broker = FakeBroker()
        self.approvals = FakeApprovals(self.lifecycle)

    async def up(self) -> None:
        bus = self.bus
        bus.export_object_manager(names.LIFECYCLE_PATH)
        bus.export(names.LIFECYCLE_PATH, self.lifecycle)
        bus.export(names.BROKER_PATH, self.broker)
        bus.export(names.APPROVALS_PATH, self.approvals)
        bus.export(names.DASHBOARD_PATH, FakeDashboard())
        for name in (names.LIFECYCLE, names.BROKER, names.APPROVALS, names.DASHBOARD):
            await bus.own(name)
        for agent in ("manager", "alice", "bob-2"):
            self.lifecycle.add(agent)
