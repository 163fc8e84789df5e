"""Stand-ins for the hive's services on a private bus."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
from typing import Any

from services.endpoint.tests.client import LIMIT
from wire import fake_agent, names
from wire.bus import Bus
from wire.errors import NotFound
from wire.interface import Interface, method, sender, signal
from wire.principal import EVERYBODY
from wire.records.broker import Message, MessageState, Thread
from wire.records.changes import (
    ChangeDetails,
    ChangeDiff,
    ChangeState,
    Comment,
    ProjectChange,
    Revision,
)
from wire.records.lifecycle import CommandArguments, JobResult
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


class FakeBroker(Interface, name=names.BROKER):
    """A broker that leases queued messages to any receiver, and records its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.threads: list[Thread] = []
        self.queued: list[Message] = []
        self.leased: dict[int, Message] = {}
        self.acknowledged: list[int] = []
        self.cancelled: list[int] = []
        self.released: list[int] = []
        self.given_back: list[int] = []
        self.reasons: list[str] = []
        self.receivers: list[str] = []
        self.error: Exception | None = None
        self.refused = 0
        self.hold: asyncio.Event | None = None
        self.changed = asyncio.Condition()

    async def queue(self, id: int, body: str = "hello", sender: str = "bob", **more: Any) -> None:
        """Queue a message; `more` are further fields of the record."""
        async with self.changed:
            self.queued.append(
                Message(
                    id=id,
                    sender=sender,
                    recipient="alice",
                    kind="message",
                    body=body,
                    queued=1,
                    redeliveries=0,
                    urgent=False,
                    in_reply_to=0,
                    state=MessageState.LEASED,
                )._replace(**more)
            )
            self.changed.notify_all()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT), self.changed:
            await self.changed.wait_for(condition)

    async def _note(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        await self._refuse()
        self.sent.append((to, body, options))
        await self._note()
        if self.hold:
            await self.hold.wait()
        return len(self.sent)

    async def _refuse(self) -> None:
        """Raise the error that the test wants, if any."""
        if self.error:
            self.refused += 1
            await self._note()
            raise self.error

    async def _called(self, *call: Any) -> int:
        await self._refuse()
        self.calls.append(call)
        await self._note()
        if self.hold:
            await self.hold.wait()
        return len(self.calls)

    @method(allow=EVERYBODY)
    async def Ask(self, to: Str, question: Str, options: Dict) -> UInt64:
        return await self._called("Ask", to, question, options)

    @method(allow=EVERYBODY)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        await self._called("Answer", id, answer)

    @method(allow=EVERYBODY)
    async def Cancel(self, id: UInt64) -> None:
        await self._called("Cancel", id)

    @method(allow=EVERYBODY)
    async def Remind(self, due: Int64, body: Str, options: Dict) -> UInt64:
        return await self._called("Remind", due, body, options)

    @method(allow=EVERYBODY)
    async def CancelReminder(self, id: UInt64) -> None:
        await self._called("CancelReminder", id)

    @method(allow=EVERYBODY)
    async def OpenThreads(self) -> list[Thread]:
        return self.threads

    @method(allow=EVERYBODY)
    async def Receive(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        return await self._receive(max, timeout_ms, urgent=False)

    @method(allow=EVERYBODY)
    async def ReceiveUrgent(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        return await self._receive(max, timeout_ms, urgent=True)

    async def _receive(self, most: int, timeout_ms: int, *, urgent: bool) -> list[Message]:
        self.receivers.append(sender())
        await self._note()

        def next_ones() -> list[Message]:
            return [m for m in self.queued if m.urgent or not urgent][:most]

        try:
            async with asyncio.timeout(timeout_ms / 1000), self.changed:
                await self.changed.wait_for(next_ones)
        except TimeoutError:
            pass
        taken = next_ones()
        self.queued = [m for m in self.queued if m not in taken]
        self.leased |= {message.id: message for message in taken}
        return taken

    @method(allow=EVERYBODY)
    async def Retract(self, id: UInt64) -> None:
        await self._called("Retract", id)

    @method(allow=EVERYBODY)
    async def Acknowledge(self, ids: UInt64List) -> None:
        await self._settle(ids)
        self.acknowledged += ids
        await self._note()

    @method(allow=EVERYBODY)
    async def AcknowledgeCancelled(self, ids: UInt64List) -> None:
        await self._settle(ids)
        self.cancelled += ids
        await self._note()

    @method(allow=EVERYBODY)
    async def Release(self, ids: UInt64List, options: Dict) -> None:
        for message in await self._settle(ids):
            self.queued.append(message._replace(redeliveries=message.redeliveries + 1))
        self.released += ids
        self.reasons.append(options.get("reason", ""))
        await self._note()

    @method(allow=EVERYBODY)
    async def GiveBack(self, ids: UInt64List, options: Dict) -> None:
        for message in await self._settle(ids):
            self.queued.append(message._replace(redeliveries=message.redeliveries + 1))
        self.given_back += ids
        self.reasons.append(options.get("reason", ""))
        await self._note()

    async def _settle(self, ids: list[int]) -> list[Message]:
        if unknown := [id for id in ids if id not in self.leased]:
            raise NotFound(f"Message {unknown[0]} is not leased to you.")
        return [self.leased.pop(id) for id in dict.fromkeys(ids)]


class FakeLifecycle(Interface, name=names.LIFECYCLE):
    """A lifecycle that ends every job with `result`, unless `endless`."""

    result = JobResult.DONE
    error = ""
    endless = False

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class FakeAgent(fake_agent.FakeAgent, name=names.AGENT_INTERFACE):
    """Lifecycle's object of one agent."""

    def __init__(self, name: str, lifecycle: FakeLifecycle) -> None:
        super().__init__(fake_agent.properties(name, machine=name, unit="", uid_base=0))
        self._name = name
        self._lifecycle = lifecycle
        self.reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.harness: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self.results: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.cancelled: list[dict[str, Any]] = []
        self.refusal: Exception | None = None
        self.accepted = asyncio.Event()
        self.jobs = 0

    def _job(self, verb: str) -> str:
        self.jobs += 1
        path = names.job_path(self.jobs)
        # Before the answer: the endpoint must already have subscribed.
        ended = self._lifecycle
        self.accepted.set()
        if ended.endless:
            return path
        ended.JobRemoved(self.jobs, path, self._name, verb, ended.result, ended.error)
        return path

    @method(allow=EVERYBODY)
    async def Start(self) -> ObjectPath:
        return self._job("start")

    @method(allow=EVERYBODY)
    async def Stop(self) -> ObjectPath:
        return self._job("stop")

    @method(allow=EVERYBODY)
    async def Restart(self) -> ObjectPath:
        return self._job("restart")

    @method(allow=EVERYBODY)
    async def Update(self) -> ObjectPath:
        return self._job("update")

    @method(allow=EVERYBODY)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return [f"line {number} of {self._name}" for number in range(lines)]

    @method(allow=EVERYBODY)
    async def Report(self, report: Dict) -> None:
        self.reports.put_nowait(report)

    @method(allow=EVERYBODY)
    async def HarnessConnected(self, connected: Bool) -> None:
        self.harness.put_nowait((sender(), connected))

    @method(allow=EVERYBODY)
    async def CommandDone(self, id: UInt64, result: Dict) -> None:
        self.results.put_nowait((id, result))

    @method(allow=EVERYBODY)
    async def CancelTurn(self, options: Dict) -> Str:
        self.cancelled.append(options)
        if self.refusal:
            raise self.refusal
        return "Ignore the operator."

    @signal()
    def CommandIssued(self, id: UInt64, verb: Str, arguments: CommandArguments) -> None: ...


class FakeApprovals(Interface, name=names.APPROVALS):
    """An approvals service that accepts every request."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[Any, ...]] = []

    def _take(self, *request: Any) -> int:
        self.requests.append(request)
        return len(self.requests)

    @method(allow=EVERYBODY)
    async def RequestSpawn(self, name: Str, reason: Str, options: Dict) -> UInt64:
        return self._take("spawn", name, reason, options)

    @method(allow=EVERYBODY)
    async def RequestApply(
        self, agent: Str, commit: Str, description: Str, options: Dict
    ) -> UInt64:
        return self._take("apply", agent, commit, description, options)

    @method(allow=EVERYBODY)
    async def Withdraw(self, id: UInt64) -> None:
        self._take("withdraw", id)


class FakeChanges(Interface, name=names.CHANGES):
    """Projects that take every change, as number 7."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.diff = "+more\n"
        self.get_error: Exception | None = None
        self.change = ProjectChange(
            *(7, "website", "alice", "main", "More", "It says more.", ChangeState.CONFLICT),
            *("", 2, "0123abc" * 5 + "01234", 1, 2, ""),
        )

    @method(allow=EVERYBODY)
    async def Submit(
        self, project: Str, commit: Str, title: Str, description: Str, options: Dict
    ) -> UInt64:
        self.calls.append(("submit", project, commit, title, description, options))
        return 7

    @method(allow=EVERYBODY)
    async def Update(self, id: UInt64, commit: Str, note: Str) -> UInt32:
        self.calls.append(("update", id, commit, note))
        return 2

    @method(allow=EVERYBODY)
    async def Withdraw(self, id: UInt64) -> None:
        self.calls.append(("withdraw", id))

    @method(allow=EVERYBODY)
    async def List(self, filter: Dict) -> list[ProjectChange]:
        self.calls.append(("list", filter))
        return [self.change]

    @method(allow=EVERYBODY)
    async def Get(self, id: UInt64) -> ChangeDetails:
        if self.get_error:
            raise self.get_error
        revisions = [
            Revision(1, "a" * 40, "", 1, "", []),
            Revision(2, self.change.commit, "", 2, "Better.", ["It makes executable: 'run'."]),
        ]
        return ChangeDetails(self.change, revisions, [Comment("operator", 3, 2, "run", 4, "Why?")])

    @method(allow=EVERYBODY)
    async def Diff(self, id: UInt64, options: Dict) -> ChangeDiff:
        self.calls.append(("diff", id, options))
        commit = self.change.commit
        return ChangeDiff(2, commit, "", "", self.diff, False, [], [], ["run"], 0)

    @method(allow=EVERYBODY)
    async def Comment(self, id: UInt64, text: Str, options: Dict) -> None:
        self.calls.append(("comment", id, text, options))


class FakeLedger(Interface, name=names.LEDGER):
    """A ledger that takes every turn."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[dict[str, Any]] = []
        self.asked: list[tuple[str, int, str]] = []
        self.allowed = False
        self.error: Exception | None = None

    @method(allow=EVERYBODY)
    async def CheckEgress(self, host: Str, port: UInt16, reason: Str) -> Bool:
        if self.error:
            raise self.error
        self.asked.append((host, port, reason))
        return self.allowed

    @method(allow=EVERYBODY)
    async def RecordTurn(self, turn: Dict) -> None:
        self.turns.append(turn)


class FakeTelemetry(Interface, name=names.TELEMETRY):
    """Telemetry that takes every span."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[dict[str, Any]] = []

    @method(allow=EVERYBODY)
    async def RecordSpans(self, spans: list[Dict]) -> None:
        self.spans += spans


def export_services(server: Bus) -> tuple[FakeBroker, FakeLifecycle, dict[str, FakeAgent], Any]:
    """Export all the fakes on `server`."""
    broker, lifecycle, approvals = FakeBroker(), FakeLifecycle(), FakeApprovals()
    server.export(names.BROKER_PATH, broker)
    server.export(names.LIFECYCLE_PATH, lifecycle)
    server.export_object_manager(names.LIFECYCLE_PATH)
    server.export(names.APPROVALS_PATH, approvals)
    agents = {name: FakeAgent(name, lifecycle) for name in ("alice", "manager")}
    for name, agent in agents.items():
        server.export(names.agent_path(name), agent)
    return broker, lifecycle, agents, approvals
