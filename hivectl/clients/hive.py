"""The connection to a hive: one bus, and a client for each service."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hivectl.clients import new_messages
from hivectl.clients.agents import Agents
from hivectl.clients.budgets import Budgets
from hivectl.clients.inbox import Inbox
from hivectl.clients.jobs import Jobs
from hivectl.clients.machined import Machined
from hivectl.clients.project_changes import ProjectChanges
from hivectl.clients.projects import Projects
from hivectl.clients.questions import Questions
from hivectl.clients.units import Units
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.changes import ChangesClient
from wire.clients.dashboard import DashboardClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import LifecycleClient
from wire.clients.projects import ProjectsClient
from wire.errors import Unavailable
from wire.records.broker import Message, MessageFilter

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from hivectl.clients.agent_events import AgentEvents
    from hivectl.clients.messages import MessageEnds
    from wire.turn_export import Export, Form


class Hive:
    """The operator's connection to a hive."""

    broker: BrokerClient
    lifecycle: LifecycleClient
    approvals: ApprovalsClient
    dashboard: DashboardClient
    ledger: LedgerClient
    projects_client: ProjectsClient
    changes: ChangesClient
    machined: Machined

    agents: Agents
    budgets: Budgets
    jobs: Jobs
    project_changes: ProjectChanges
    projects: Projects
    inbox: Inbox
    questions: Questions
    units: Units

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.broker = BrokerClient(bus)
        self.lifecycle = LifecycleClient(bus)
        self.approvals = ApprovalsClient(bus)
        self.dashboard = DashboardClient(bus)
        self.ledger = LedgerClient(bus)
        self.projects_client = ProjectsClient(bus)
        self.changes = ChangesClient(bus)
        self.machined = Machined(bus)
        self.agents = Agents(bus, self.lifecycle, self.approvals)
        self.budgets = Budgets(bus, self.ledger)
        self.jobs = Jobs(bus, self.lifecycle)
        self.project_changes = ProjectChanges(bus, self.changes)
        self.projects = Projects(bus, self.projects_client)
        self.inbox = Inbox(bus, self.broker)
        self.questions = Questions(bus, self.broker)
        self.units = Units(bus)

    def events(self, name: str) -> "AgentEvents":
        """Return the events of the agent `name`."""
        # Only few commands need them, and pydantic with them.
        from hivectl.clients.agent_events import AgentEvents
        from wire.agent_web import AgentWeb

        return AgentEvents(self._bus, AgentWeb(), name)

    def export(self, name: str, turn: int, form: "Form") -> "Export":
        """Return the export of a turn of the agent `name`."""
        from wire.agent_web import AgentWeb
        from wire.turn_export import Export

        return Export(AgentWeb(), name, turn, form)

    async def newest_message(self) -> int:
        """Return the number of the newest message of the hive; 0 if there is none."""
        return await new_messages.newest(self.broker, MessageFilter())

    def new_messages(
        self, wanted: "MessageFilter", after: int
    ) -> "AsyncGenerator[list[Message], None]":
        """Yield the messages that match as they are sent, after the one with the number `after`."""
        return new_messages.follow(self._bus, self.broker, wanted, "MessagesChanged", after)

    def message_ends(self) -> "AbstractAsyncContextManager[MessageEnds]":
        """Watch how the operator's messages end; enter the context before sending."""
        from hivectl.clients.messages import watch_ends

        return watch_ends(self._bus, self.broker)

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator["Hive"]:
        """Connect to the system bus for as long as the context lasts.

        Raises:
            Unavailable: there is no system bus.
        """
        try:
            bus = await Bus.connect()
        except (OSError, Unavailable) as error:
            raise Unavailable(f"The hive cannot be reached: {error}") from error
        try:
            yield cls(bus)
        finally:
            await bus.close()
