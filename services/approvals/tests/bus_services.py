"""Lifecycle and broker as stand-ins on a bus."""

import asyncio
from typing import Annotated, Any

from wire import names
from wire.bus import Bus
from wire.interface import Interface, method, prop, signal
from wire.principal import EVERYBODY
from wire.types import Dict, ObjectPath, Signature, Str, UInt32, UInt64


class Agent(Interface, name=names.AGENT_INTERFACE):
    def __init__(self, name: str) -> None:
        self._name = name
        self.commit = ""

    @prop(const=True)
    def Name(self) -> Str:  # noqa: N802
        return self._name

    @prop()
    def DeployedCommit(self) -> Str:  # noqa: N802
        return self.commit


class Lifecycle(Interface, name=names.LIFECYCLE):
    """bob-2 is there; what is ordered is kept, and ends when the test says so."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, ...]] = []
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.agents = {"bob-2": Agent("bob-2")}

    @method(allow=EVERYBODY)
    async def Spawn(self, name: Str, options: Dict) -> ObjectPath:  # noqa: N802
        return self._order("spawn", name, options["commit"])

    @method(allow=EVERYBODY)
    async def Deploy(self, agent: Str, commit: Str, options: Dict) -> ObjectPath:  # noqa: N802
        return self._order("deploy", agent, commit, str(options["now"]))

    @method(allow=EVERYBODY)
    async def ListTombstones(  # noqa: N802
        self,
    ) -> Annotated[list[list[Any]], Signature("a(stx)")]:
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
            self.agents[agent].commit = commit
        self.JobRemoved(number, names.job_path(number), agent, verb, result, error)

    @signal()
    def JobRemoved(  # noqa: N802
        self, id: UInt32, job: ObjectPath, agent: Str, verb: Str, result: Str, error: Str
    ) -> None: ...


class Broker(Interface, name=names.BROKER):
    def __init__(self) -> None:
        self.sent: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue()

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        self.sent.put_nowait((to, body, options))
        return 1

    async def next(self) -> tuple[str, str, dict[str, Any]]:
        return await asyncio.wait_for(self.sent.get(), 5)


def export(bus: Bus, lifecycle: Lifecycle, broker: Broker) -> None:
    bus.export_object_manager(names.LIFECYCLE_PATH)
    bus.export(names.LIFECYCLE_PATH, lifecycle)
    bus.export(names.BROKER_PATH, broker)
    for name, shown in lifecycle.agents.items():
        bus.export(names.agent_path(name), shown)
