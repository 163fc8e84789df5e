"""Lifecycle and broker as stand-ins on a bus."""

import asyncio
from typing import get_type_hints

from wire import names
from wire.bus import Bus
from wire.interface import Interface, method, prop, signal
from wire.principal import EVERYBODY
from wire.records import decode, keys
from wire.records.broker import SendOptions
from wire.records.lifecycle import (
    AgentProperties,
    AgentState,
    DeployOptions,
    JobRemoved,
    JobResult,
    JobVerb,
    Network,
    Resources,
    SpawnOptions,
    Tombstone,
    TurnState,
)
from wire.types import Dict, ObjectPath, Str, UInt32, UInt64

BOB = AgentProperties(
    name="bob-2",
    machine="h-bob-2",
    unit="container@h-bob-2.service",
    uid_base=0,
    enabled=True,
    state=AgentState.RUNNING,
    since=1,
    invocation_id="",
    turn_state=TurnState.IDLE,
    turn_since=1,
    model="",
    context_tokens=0,
    logged_in=True,
    resources=Resources(),
    network=Network(deny=[], allow=[], name_servers=[], filtered=True),
    image="",
    stale=False,
    port=0,
    port_shared_with=[],
    deployed_commit="",
)


class Agent(Interface, name=names.AGENT_INTERFACE):
    """An agent whose D-Bus properties are the fields of `values`."""

    def __init__(self, values: AgentProperties) -> None:
        self.values = values


def _property(field: str, hint: object) -> property:
    def getter(self: Agent) -> object:
        return getattr(self.values, field)

    getter.__annotations__["return"] = hint
    return prop()(getter)


class Bob(Agent, name=names.AGENT_INTERFACE):
    """The class of bob-2: properties are collected when a class is made."""

    locals().update(
        (keys(AgentProperties)[field], _property(field, hint))
        for field, hint in get_type_hints(AgentProperties, include_extras=True).items()
    )


class Lifecycle(Interface, name=names.LIFECYCLE):
    """There is the agent bob-2; orders are kept, and end when the test says so."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.agents = {BOB.name: Bob(BOB)}

    @method(allow=EVERYBODY)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:  # noqa: N802
        return self._order("spawn", name, decode(SpawnOptions, options).commit)

    @method(allow=EVERYBODY)
    async def Deploy(self, agent: Str, commit: Str, options: Dict) -> ObjectPath:  # noqa: N802
        return self._order("deploy", agent, commit, str(decode(DeployOptions, options).now))

    @method(allow=EVERYBODY)
    async def ListTombstones(self) -> list[Tombstone]:  # noqa: N802
        return []

    def _order(self, *order: str) -> str:
        if self.error:
            raise self.error
        self.orders.append(order)
        self.asked.set()
        return names.job_path(len(self.orders))

    def end(self, result: str = "done", error: str = "") -> None:
        number = len(self.orders)
        verb, agent, commit, *_ = self.orders[-1]
        if result == "done" and agent in self.agents:
            deployed = self.agents[agent].values._replace(deployed_commit=commit)
            self.agents[agent].values = deployed
        removed = JobRemoved(
            number, names.job_path(number), agent, JobVerb(verb), JobResult(result), error
        )
        self.JobRemoved(*removed)

    @signal()
    def JobRemoved(  # noqa: N802
        self,
        id: UInt32,
        job: ObjectPath,
        agent: Str,
        verb: JobVerb,
        result: JobResult,
        note: Str,
    ) -> None: ...


class Broker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[str, str, SendOptions]] = asyncio.Queue()

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        self.sent.put_nowait((to, body, decode(SendOptions, options)))
        return 1

    async def next(self) -> tuple[str, str, SendOptions]:
        return await asyncio.wait_for(self.sent.get(), 5)


def export(bus: Bus, lifecycle: Lifecycle, broker: Broker) -> None:
    bus.export_object_manager(names.LIFECYCLE_PATH)
    bus.export(names.LIFECYCLE_PATH, lifecycle)
    bus.export(names.BROKER_PATH, broker)
    for name, agent in lifecycle.agents.items():
        bus.export(names.agent_path(name), agent)
