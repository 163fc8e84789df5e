"""Lifecycle1, Agent1 and Job1 on the bus. Forwards, and nothing else."""

from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Annotated, Any, Final, TypeAlias

from services.lifecycle.agents.agent import Agent
from services.lifecycle.jobs.job import Job, Result, Verb
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.watch.crash import Crash
from wire import names
from wire.bus import Bus
from wire.interface import Interface, caller, method, prop, signal
from wire.principal import AGENTS, MANAGER, OPERATOR, service
from wire.types import (
    U64,
    Bool,
    Dict,
    Int32,
    Int64,
    ObjectPath,
    Signature,
    Str,
    StrList,
    UInt32,
    UInt64,
)

Tombstones: TypeAlias = Annotated[list[list[Any]], Signature("a(stx)")]


def variants(values: Mapping[str, int]) -> dict[str, Any]:
    """Counts as variants of type t."""
    return {key: U64(value) for key, value in values.items()}


class Lifecycle1(Interface, name=names.LIFECYCLE):
    """The service's own object."""

    def __init__(self) -> None:
        self._lifecycle: Lifecycle

    def attach(self, lifecycle: Lifecycle) -> None:
        """Forward to `lifecycle`; before the first call."""
        self._lifecycle = lifecycle

    @method(allow=OPERATOR | service("approvals"))
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:
        return names.job_path(self._lifecycle.spawn(name, options).number)

    @method(allow=service("approvals"))
    async def Deploy(self, agent: Str, commit: Str, options: Dict) -> ObjectPath:
        return names.job_path(self._lifecycle.deploy(agent, commit, options).number)

    @method(allow=OPERATOR)
    async def Destroy(self, name: Str, purge: Bool) -> ObjectPath:
        return names.job_path(self._lifecycle.destroy(name, purge).number)

    @method(allow=OPERATOR)
    async def UpdateAll(self) -> StrList:
        return self._lifecycle.update_all()

    @method(allow=OPERATOR | service("approvals"))
    async def ListTombstones(self) -> Tombstones:
        return [list(astuple(tombstone)) for tombstone in await self._lifecycle.tombstones()]

    @method(allow=OPERATOR)
    async def PurgeTombstone(self, name: Str) -> ObjectPath:
        return names.job_path(self._lifecycle.purge(name).number)

    @signal()
    def JobNew(self, id: UInt32, job: ObjectPath, agent: Str, verb: Str) -> None: ...

    @signal()
    def JobRemoved(
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, note: Str
    ) -> None: ...


class Agent1(Interface, name=names.AGENT_INTERFACE):
    """One agent."""

    def __init__(self, lifecycle: Lifecycle, agent: Agent) -> None:
        self._lifecycle = lifecycle
        self._agent = agent

    @method(allow=OPERATOR | MANAGER)
    async def Start(self) -> ObjectPath:
        return self._order(Verb.START)

    @method(allow=OPERATOR | MANAGER)
    async def Stop(self) -> ObjectPath:
        return self._order(Verb.STOP)

    @method(allow=OPERATOR | MANAGER)
    async def Restart(self) -> ObjectPath:
        return self._order(Verb.RESTART)

    @method(allow=OPERATOR)
    async def Rebuild(self) -> ObjectPath:
        return self._order(Verb.REBUILD)

    @method(allow=OPERATOR | MANAGER)
    async def Update(self) -> ObjectPath:
        return self._order(Verb.UPDATE)

    @method(allow=OPERATOR | MANAGER)
    async def Pause(self) -> None:
        await self._lifecycle.pause(self._agent.name)

    @method(allow=OPERATOR | MANAGER)
    async def Resume(self) -> None:
        await self._lifecycle.resume(self._agent.name)

    @method(allow=OPERATOR)
    async def SetResources(self, resources: Dict) -> None:
        await self._lifecycle.set_resources(self._agent.name, resources)

    @method(allow=OPERATOR | MANAGER)
    async def GetUsage(self) -> Dict:
        return variants(await self._lifecycle.usage(self._agent.name))

    @method(allow=AGENTS)
    async def Report(self, report: Dict) -> None:
        self._lifecycle.report(caller(), self._agent.name, report)

    @method(allow=OPERATOR | MANAGER)
    async def GetLogs(self, lines: UInt32) -> StrList:
        return await self._lifecycle.logs(self._agent.name, lines)

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
    def State(self) -> Str:
        return self._agent.state.value

    @prop()
    def Since(self) -> Int64:
        return self._agent.unit_status.since

    @prop()
    def InvocationId(self) -> Str:
        return self._agent.unit_status.invocation

    @prop()
    def TurnState(self) -> Str:
        return self._agent.turn_state.value

    @prop()
    def TurnSince(self) -> Int64:
        return self._agent.turn_since

    @prop()
    def Model(self) -> Str:
        return self._agent.model

    @prop()
    def ContextTokens(self) -> UInt64:
        return self._agent.context_tokens

    @prop()
    def LoggedIn(self) -> Bool:
        return self._agent.logged_in

    @prop()
    def Resources(self) -> Dict:
        return variants(self._lifecycle.resources(self._agent.name))

    @prop()
    def Network(self) -> Dict:
        return asdict(self._lifecycle.network(self._agent.name))

    @prop(const=True)
    def Image(self) -> Str:
        return self._lifecycle.image(self._agent.name)

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

    @signal()
    def Crashed(self, result: Str, status: Int32) -> None: ...

    def _order(self, verb: Verb) -> str:
        return names.job_path(self._lifecycle.order(verb, self._agent.name).number)


class Job1(Interface, name=names.JOB_INTERFACE):
    """One job, while it runs."""

    def __init__(self, lifecycle: Lifecycle, job: Job) -> None:
        self._lifecycle = lifecycle
        self._job = job

    @method(allow=OPERATOR)
    async def Cancel(self) -> None:
        self._lifecycle.cancel(self._job.number)

    @method(allow=OPERATOR | service("approvals"))
    async def Hurry(self) -> None:
        self._lifecycle.hurry(self._job.number)

    @prop(const=True)
    def Id(self) -> UInt32:
        return self._job.number

    @prop(const=True)
    def Agent(self) -> Str:
        return self._job.agent

    @prop(const=True)
    def Verb(self) -> Str:
        return self._job.verb.value

    @prop()
    def State(self) -> Str:
        return self._job.state.value


PROPERTIES: Final = {
    "enabled": ("Enabled",),
    "asleep": ("State",),
    "unit_status": ("State", "Since", "InvocationId"),
    "turn_state": ("TurnState",),
    "turn_since": ("TurnSince",),
    "model": ("Model",),
    "context_tokens": ("ContextTokens",),
    "logged_in": ("LoggedIn",),
    "stale": ("Stale",),
    "port": ("Port",),
    "port_shared": ("PortSharedWith",),
    "spec": ("Resources", "DeployedCommit"),
}
"""The properties that show each attribute of an agent."""


class OnBus:
    """Shows on the bus what lifecycle tells its observer."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._root = Lifecycle1()
        self._agents: dict[str, Agent1] = {}
        self._jobs: dict[int, Job1] = {}
        self._lifecycle: Lifecycle

    def attach(self, lifecycle: Lifecycle) -> None:
        """Export the service's own object; before `lifecycle` is started."""
        self._lifecycle = lifecycle
        self._root.attach(lifecycle)
        self._bus.export_object_manager(names.LIFECYCLE_PATH)
        self._bus.export(names.LIFECYCLE_PATH, self._root)

    def agent_added(self, agent: Agent) -> None:
        shown = self._agents[agent.name] = Agent1(self._lifecycle, agent)
        self._bus.export(names.agent_path(agent.name), shown)

    def agent_removed(self, agent: Agent) -> None:
        self._bus.unexport(names.agent_path(agent.name), self._agents.pop(agent.name))

    def agent_changed(self, agent: Agent, changed: frozenset[str]) -> None:
        if shown := self._agents.get(agent.name):
            shown.emit_changed(*(name for key in sorted(changed) for name in PROPERTIES[key]))

    def agent_crashed(self, agent: Agent, crash: Crash) -> None:
        if shown := self._agents.get(agent.name):
            shown.Crashed(crash.result, crash.status)

    def job_new(self, job: Job) -> None:
        path = names.job_path(job.number)
        self._jobs[job.number] = Job1(self._lifecycle, job)
        self._bus.export(path, self._jobs[job.number])
        self._root.JobNew(job.number, path, job.agent, job.verb.value)

    def job_changed(self, job: Job) -> None:
        self._jobs[job.number].emit_changed("State")

    def job_removed(self, job: Job, result: Result, note: str) -> None:
        path = names.job_path(job.number)
        self._bus.unexport(path, self._jobs.pop(job.number))
        self._root.JobRemoved(job.number, path, job.agent, job.verb.value, result.value, note)
