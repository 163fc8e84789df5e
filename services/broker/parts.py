"""The parts of the broker; `__main__` puts them together."""

from dataclasses import dataclass

from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.holds.holds import Holds
from services.broker.maintenance.maintenance import Maintenance
from services.broker.messages.broker import Broker
from services.broker.messages.inboxes import Inboxes
from services.broker.queries.history import History
from services.broker.queries.message_counts import MessageCounts
from services.broker.queries.open_threads import OpenThreads
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.storage.database import Database
from services.broker.writes import Writes


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that share one store."""

    database: Database
    announcer: Announcer
    writes: Writes
    deadlines: Deadlines
    inboxes: Inboxes
    broker: Broker
    holds: Holds
    questions: Questions
    reminders: Reminders
    threads: OpenThreads
    counts: MessageCounts
    history: History
    maintenance: Maintenance

    async def close(self) -> None:
        """End the calls that wait, finish the writes that run, and close the store."""
        self.inboxes.stop()
        await self.writes.wait()
        await self.maintenance.close()
        await self.database.close()
