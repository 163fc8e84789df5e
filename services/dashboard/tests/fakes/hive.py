"""All fakes of services together, on a private bus."""

from services.dashboard.tests.fakes.agent import FakeAgent
from services.dashboard.tests.fakes.approvals import FakeApprovals
from services.dashboard.tests.fakes.broker import FakeBroker
from services.dashboard.tests.fakes.changes import FakeChanges
from services.dashboard.tests.fakes.ledger import FakeLedger
from services.dashboard.tests.fakes.lifecycle import FakeLifecycle
from services.dashboard.tests.fakes.projects import FakeProjects
from wire import names
from wire.bus import Bus


class FakeHive:
    """All of them, with a manager, alice (running) and bob (stopped)."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.lifecycle = FakeLifecycle()
        self.approvals = FakeApprovals()
        self.ledger = FakeLedger()
        self.projects = FakeProjects()
        self.changes = FakeChanges()
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

    async def serve_projects(self, bus: Bus) -> None:
        bus.export(names.PROJECTS_PATH, self.projects)
        bus.export(names.PROJECTS_PATH, self.changes)
        await bus.own(names.PROJECTS)
