"""Lifecycle1, Agent1 and Job1 on the bus. Forwards, and nothing else."""

from typing import Final

from services.lifecycle import options as checked
from services.lifecycle.agents.agent import Agent
from services.lifecycle.commands import Peer
from services.lifecycle.jobs.job import Job
from services.lifecycle.notices.crash import Crash
from services.lifecycle.parts import Parts
from wire import names
from wire.bus import Bus
from wire.interface import Interface, caller, method, prop, sender, signal
from wire.principal import AGENTS, MANAGER, OPERATOR, service
from wire.records import lifecycle as records
from wire.types import Bool, Dict, Int32, Int64, ObjectPath, Str, StrList, UInt32, UInt64


class Lifecycle1(Interface, name=names.LIFECYCLE):
    """The object of the service."""

    def __init__(self) -> None:
        self._parts: Parts

    def attach(self, parts: Parts) -> None:
        """Forward to `parts`. Must be called before the first call from the bus."""
        self._parts = parts

    @method(allow=OPERATOR | service("approvals"))
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:
        return names.job_path(self._parts.orders.spawn(name, checked.SPAWN.parse(options)).number)

    @method(allow=service("approvals"))
    async def Deploy(self, agent: Str, commit: Str, options: Dict) -> ObjectPath:
        job = self._parts.orders.deploy(agent, commit, checked.DEPLOY.parse(options))
        return names.job_path(job.number)

    @method(allow=OPERATOR)
    async def Destroy(self, name: Str, purge: Bool) -> ObjectPath:
        return names.job_path(self._parts.orders.destroy(name, purge).number)

    @method(allow=OPERATOR)
    async def UpdateAll(self) -> StrList:
        return self._parts.rolling_update.begin()

    @method(allow=OPERATOR)
    async def LiftLimits(self) -> StrList:
        return await self._parts.gateway_limits.lift()

    @method(allow=OPERATOR | service("approvals"))
    async def ListTombstones(self) -> list[records.Tombstone]:
        return await self._parts.tombstones.all()

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return names.job_path(self._parts.orders.purge(name).number)

    @method(allow=OPERATOR)
    async def ReadLogs(self, filter: Dict, limit: UInt32) -> list[records.LogEntry]:
        return await self._parts.logs.read(checked.LOGS.parse(filter), limit)

    @signal()
    def JobNew(self, id: UInt32, job: ObjectPath, agent: Str, verb: records.JobVerb) -> None: ...

    @signal()
    def JobRemoved(
        self,
        id: UInt32,
        job: ObjectPath,
        agent: Str,
        verb: records.JobVerb,
        result: records.JobResult,
        note: Str,
    ) -> None: ...


class Agent1(Interface, name=names.AGENT_INTERFACE):
    """One agent."""

    def __init__(self, parts: Parts, agent: Agent, bus: Bus) -> None:
        self._parts = parts
        self._agent = agent
        self._bus = bus

    @method(allow=OPERATOR | MANAGER)
    async def Start(self) -> ObjectPath:
        return self._order(records.JobVerb.START)

    @method(allow=OPERATOR | MANAGER)
    async def Stop(self) -> ObjectPath:
        return self._order(records.JobVerb.STOP)

    @method(allow=OPERATOR)
    async def Kill(self) -> ObjectPath:
        job = await self._parts.orders.kill(self._agent.name, caller().voice)
        return names.job_path(job.number)

    @method(allow=OPERATOR | MANAGER)
    async def Restart(self) -> ObjectPath:
        return self._order(records.JobVerb.RESTART)

    @method(allow=OPERATOR)
    async def Rebuild(self) -> ObjectPath:
        return self._order(records.JobVerb.REBUILD)

    @method(allow=OPERATOR | MANAGER)
    async def Update(self) -> ObjectPath:
        return self._order(records.JobVerb.UPDATE)

    @method(allow=OPERATOR | MANAGER)
    async def Pause(self) -> None:
        await self._parts.runtime.pause(self._agent.name)

    @method(allow=OPERATOR | MANAGER)
    async def Resume(self) -> None:
        await self._parts.runtime.resume(self._agent.name)

    @method(allow=OPERATOR)
    async def SetResources(self, resources: Dict) -> None:
        changes = checked.RESOURCES.parse(resources)
        await self._parts.settings.set_resources(self._agent.name, changes)

    @method(allow=OPERATOR | MANAGER)
    async def GetUsage(self) -> records.Usage:
        return await self._parts.runtime.usage(self._agent.name)

    @method(allow=AGENTS)
    async def Report(self, report: Dict) -> None:
        self._parts.harnesses.report(caller(), self._agent.name, checked.REPORT.parse(report))

    @method(allow=AGENTS)
    async def HarnessConnected(self, connected: Bool) -> None:
        self._parts.harnesses.connected(
            caller(), self._agent.name, self._peer() if connected else None
        )

    @method(allow=AGENTS)
    async def CommandDone(self, id: UInt64, result: Dict) -> None:
        self._parts.harnesses.command_done(
            caller(), self._agent.name, id, checked.COMMAND_RESULT.parse(result)
        )

    @method(allow=OPERATOR | MANAGER)
    async def CancelTurn(self, options: Dict) -> Str:
        requeue = checked.CANCEL.parse(options).requeue
        return await self._command(records.CommandVerb.CANCEL, requeue=requeue)

    @method(allow=OPERATOR | MANAGER)
    async def Compact(self) -> Str:
        return await self._command(records.CommandVerb.COMPACT)

    @method(allow=OPERATOR | MANAGER)
    async def NewSession(self) -> Str:
        return await self._command(records.CommandVerb.NEW_SESSION)

    @method(allow=OPERATOR)
    async def ResetProject(self, project: Str) -> Str:
        return await self._command(records.CommandVerb.RESET_PROJECT, value=project)

    @method(allow=OPERATOR | MANAGER)
    async def SetModel(self, model: Str) -> Str:
        return await self._command(records.CommandVerb.MODEL, value=model)

    @method(allow=OPERATOR | MANAGER)
    async def SetEffort(self, effort: Str) -> Str:
        return await self._command(records.CommandVerb.EFFORT, value=effort)

    @method(allow=OPERATOR)
    async def BeginLogin(self) -> records.LoginPage:
        begun = await self._result(records.CommandVerb.LOGIN)
        return records.LoginPage(begun.login, begun.address)

    @method(allow=OPERATOR)
    async def EnterLoginCode(self, login: UInt64, code: Str) -> Str:
        return await self._command(records.CommandVerb.LOGIN_CODE, value=code, login=login)

    @method(allow=OPERATOR)
    async def CancelLogin(self, login: UInt64) -> Str:
        return await self._command(records.CommandVerb.LOGIN_CANCEL, login=login)

    @method(allow=OPERATOR | MANAGER)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return await self._parts.logs.newest(self._agent.name, lines)

    @prop(const=True)
    def Name(self) -> Str:
        return self._agent.name

    @prop(const=True)
    def Machine(self) -> Str:
        return self._agent.machine

    @prop(const=True)
    def Unit(self) -> Str:
        return self._agent.unit

    @prop(const=True)
    def UidBase(self) -> UInt32:
        return self._agent.spec.uid_base

    @prop()
    def Enabled(self) -> Bool:
        return self._agent.enabled

    @prop()
    def State(self) -> records.AgentState:
        return self._agent.state

    @prop()
    def Since(self) -> Int64:
        return self._agent.unit_status.since

    @prop()
    def InvocationId(self) -> Str:
        return self._agent.unit_status.invocation

    @prop()
    def TurnState(self) -> records.TurnState:
        return self._agent.turn_state

    @prop()
    def TurnSince(self) -> Int64:
        return self._agent.turn_since

    @prop()
    def TurnReason(self) -> Str:
        return self._agent.turn_reason

    @prop()
    def TurnUntil(self) -> Int64:
        return self._agent.turn_until

    @prop()
    def Activity(self) -> Str:
        return self._agent.activity

    @prop()
    def Model(self) -> Str:
        return self._agent.model

    @prop()
    def ModelSetting(self) -> Str:
        return self._agent.model_setting

    @prop()
    def Effort(self) -> Str:
        return self._agent.effort

    @prop()
    def ContextLimit(self) -> UInt64:
        return self._agent.context_limit

    @prop()
    def Session(self) -> Str:
        return self._agent.session

    @prop()
    def ContextTokens(self) -> UInt64:
        return self._agent.context_tokens

    @prop()
    def LoggedIn(self) -> Bool:
        return self._agent.logged_in

    @prop()
    def Credential(self) -> Str:
        return self._agent.credential

    @prop()
    def Resources(self) -> records.Resources:
        return self._parts.settings.resources(self._agent.name)

    @prop()
    def Network(self) -> records.Network:
        return self._parts.settings.network(self._agent.name)

    @prop(const=True)
    def Image(self) -> Str:
        return self._parts.settings.image(self._agent.name)

    @prop()
    def Stale(self) -> Bool:
        return self._agent.stale

    @prop()
    def Port(self) -> UInt32:
        return self._agent.port

    @prop()
    def PortSharedWith(self) -> StrList:
        return list(self._agent.port_shared)

    @prop()
    def DeployedCommit(self) -> Str:
        return self._agent.spec.commit

    @prop()
    def Crashes(self) -> UInt32:
        return self._agent.crashes.times

    @prop()
    def LastCrash(self) -> Int64:
        return self._agent.crashes.last

    @prop()
    def SleepAfter(self) -> UInt64:
        return int(self._parts.settings.sleeps_after(self._agent.name))

    @prop()
    def Projects(self) -> list[records.ProjectAccess]:
        return self._parts.settings.projects(self._agent.name)

    @signal()
    def CommandIssued(
        self, id: UInt64, verb: records.CommandVerb, arguments: records.CommandArguments
    ) -> None: ...

    @signal()
    def Crashed(self, result: Str, status: Int32) -> None: ...

    async def _command(
        self,
        verb: records.CommandVerb,
        *,
        requeue: bool = False,
        value: str = "",
        login: int = 0,
    ) -> str:
        return (await self._result(verb, requeue, value, login)).text

    async def _result(
        self, verb: records.CommandVerb, requeue: bool = False, value: str = "", login: int = 0
    ) -> records.CommandResult:
        arguments = records.CommandArguments(requeue, value, login, caller().voice)
        return await self._parts.harnesses.command(self._agent.name, verb, arguments)

    def _order(self, verb: records.JobVerb) -> str:
        return names.job_path(
            self._parts.orders.order(verb, self._agent.name, caller().voice).number
        )

    def _peer(self) -> Peer:
        """Return the caller's connection, which alone receives the commands."""
        connection = sender()

        def send(issued: records.CommandIssued) -> None:
            self.emit_to(connection, "CommandIssued", *issued)

        return Peer(connection, send, lambda: self._bus.watch_sender(connection))


class Job1(Interface, name=names.JOB_INTERFACE):
    """One job that has not ended."""

    def __init__(self, parts: Parts, job: Job) -> None:
        self._parts = parts
        self._job = job

    @method(allow=OPERATOR)
    async def Cancel(self) -> None:
        self._parts.orders.cancel(self._job.number)

    @method(allow=OPERATOR | service("approvals"))
    async def Hurry(self) -> None:
        self._parts.orders.hurry(self._job.number)

    @method(allow=OPERATOR)
    async def GetOutput(self) -> StrList:
        return list(self._job.output)

    @prop(const=True)
    def Id(self) -> UInt32:
        return self._job.number

    @prop(const=True)
    def Agent(self) -> Str:
        return self._job.agent

    @prop(const=True)
    def Verb(self) -> records.JobVerb:
        return self._job.verb

    @prop()
    def State(self) -> records.JobState:
        return self._job.state

    @signal()
    def Output(self, lines: StrList) -> None: ...


PROPERTIES: Final = {
    "enabled": ("Enabled",),
    "asleep": ("State",),
    "unit_status": ("State", "Since", "InvocationId"),
    "turn_state": ("TurnState",),
    "turn_since": ("TurnSince",),
    "model": ("Model",),
    "model_setting": ("ModelSetting",),
    "context_tokens": ("ContextTokens",),
    "logged_in": ("LoggedIn",),
    "credential": ("Credential",),
    "turn_reason": ("TurnReason",),
    "turn_until": ("TurnUntil",),
    "activity": ("Activity",),
    "effort": ("Effort",),
    "context_limit": ("ContextLimit",),
    "session": ("Session",),
    "reported": (),
    "in_turn": (),
    "stale": ("Stale",),
    "network": ("Network",),
    "port": ("Port",),
    "port_shared": ("PortSharedWith",),
    "crashes": ("Crashes", "LastCrash"),
    "spec": ("Resources", "DeployedCommit", "Network", "SleepAfter", "Projects"),
}
"""The properties that show each attribute of an agent, and change with it."""


class BusObserver:
    """The observer of lifecycle that shows agents and jobs on the bus."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._root = Lifecycle1()
        self._agents: dict[str, Agent1] = {}
        self._jobs: dict[int, Job1] = {}
        self._parts: Parts

    def attach(self, parts: Parts) -> None:
        """Export the object of the service. Must be called before the parts are started."""
        self._parts = parts
        self._root.attach(parts)
        self._bus.export_object_manager(names.LIFECYCLE_PATH)
        self._bus.export(names.LIFECYCLE_PATH, self._root)

    def agent_added(self, agent: Agent) -> None:
        shown = self._agents[agent.name] = Agent1(self._parts, agent, self._bus)
        self._bus.export(names.agent_path(agent.name), shown)

    def agent_removed(self, agent: Agent) -> None:
        self._bus.unexport(names.agent_path(agent.name), self._agents.pop(agent.name))

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        properties = [name for key in sorted(changed) for name in PROPERTIES[key]]
        if properties and (shown := self._agents.get(agent.name)):
            shown.emit_changed(*properties)

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        if shown := self._agents.get(agent.name):
            shown.Crashed(*records.Crashed(crash.result, crash.status))

    def job_new(self, job: Job) -> None:
        path = names.job_path(job.number)
        self._jobs[job.number] = Job1(self._parts, job)
        self._bus.export(path, self._jobs[job.number])
        self._root.JobNew(*records.JobNew(job.number, path, job.agent, job.verb))

    def job_changed(self, job: Job) -> None:
        self._jobs[job.number].emit_changed("State")

    def job_output(self, job: Job, lines: list[str]) -> None:
        if shown := self._jobs.get(job.number):
            shown.Output(*records.JobOutput(lines))

    def job_removed(self, job: Job, result: records.JobResult, note: str) -> None:
        path = names.job_path(job.number)
        self._bus.unexport(path, self._jobs.pop(job.number))
        removed = records.JobRemoved(job.number, path, job.agent, job.verb, result, note)
        self._root.JobRemoved(*removed)
