"""Lifecycle and broker as stand-ins on a bus."""

import asyncio

from wire import names
from wire.bus import Bus
from wire.fake_agent import FakeAgent, properties
from wire.interface import Interface, method, signal
from wire.principal import EVERYBODY
from wire.records import decode
from wire.records.broker import SendOptions
from wire.records.lifecycle import (
    DeployOptions,
    JobRemoved,
    JobResult,
    JobVerb,
    SpawnOptions,
    Tombstone,
)
from wire.types import Dict, ObjectPath, Str, UInt32, UInt64


class Lifecycle(Interface, name=names.LIFECYCLE):
    """There is the agent bob-2; orders are kept, and end when the test says so."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.agents = {"bob-2": FakeAgent(properties("bob-2"))}

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
            bob = self.agents[agent]
            bob.shown = bob.shown._replace(deployed_commit=commit)
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
