"""The endpoint under test, in this process, between fake services and raw clients."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.endpoint.server import EndpointServer
from services.endpoint.tests.client import Client
from services.endpoint.tests.fakes import (
    FakeAgent,
    FakeApprovals,
    FakeBroker,
    FakeChanges,
    FakeLedger,
    FakeLifecycle,
    FakeTelemetry,
    export_services,
)
from wire import names
from wire.bus import Bus
from wire.interface import Interface


@dataclass
class Hive:
    """The fake services, the endpoint under test, and its socket."""

    server: Bus
    endpoint_bus: Bus
    endpoint: EndpointServer
    path: Path
    broker: FakeBroker
    lifecycle: FakeLifecycle
    agents: dict[str, FakeAgent]
    approvals: FakeApprovals
    ledger: FakeLedger
    telemetry: FakeTelemetry
    changes: FakeChanges
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path, limit=64 * 1024 * 1024))
        self.clients.append(client)
        return client

    async def client(self, name: str = "test") -> Client:
        return await (await self.connect()).initialize(name)

    async def harness(self) -> Client:
        return await self.client("hyperhive-harness")


@asynccontextmanager
async def stage(
    server: Bus, bus: Bus, folder: Path, agent: str, telemetry: Interface | None = None
) -> AsyncIterator[Hive]:
    """Run a hive with one endpoint, and close it afterwards; a test may give its telemetry."""
    broker, lifecycle, agents, approvals = export_services(server)
    ledger = FakeLedger()
    server.export(names.LEDGER_PATH, ledger)
    changes = FakeChanges()
    server.export(names.PROJECTS_PATH, changes)
    spans = FakeTelemetry()
    server.export(names.TELEMETRY_PATH, telemetry or spans)
    for name in (
        names.BROKER,
        names.LIFECYCLE,
        names.APPROVALS,
        names.LEDGER,
        names.PROJECTS,
        names.TELEMETRY,
    ):
        await server.own(name)
    path = folder / "mcp.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    endpoint = EndpointServer(bus, agent)
    await endpoint.start(listener)
    hive = Hive(
        server,
        bus,
        endpoint,
        path,
        broker,
        lifecycle,
        agents,
        approvals,
        ledger,
        spans,
        changes,
    )
    try:
        yield hive
    finally:
        for client in hive.clients:
            client.writer.close()
        await endpoint.close()
