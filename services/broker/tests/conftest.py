import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.broker.deadlines.deadlines import Deadlines
from services.broker.messages.broker import Broker
from services.broker.messages.invocations import Invocations
from services.broker.messages.message import Message
from services.broker.messages.store import MessageStore
from services.broker.questions.question import Question
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.storage.database import Database
from services.broker.tests.clocks import FakeClock
from services.config import BrokerConfig

MAX_BODY = 1000
CONFIG = BrokerConfig(max_body_bytes=MAX_BODY, agent_messages_per_hour=5000)
MAX_OPEN = 5
MAX_PENDING = 5


class EventLog:
    """Notes what the broker tells."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None:
        self.all.append(("queued", message_id, sender, to, kind))

    def delivered(self, message: Message) -> None:
        self.all.append(("delivered", message.id, message.redeliveries))

    def acknowledged(self, message_id: int, to: str) -> None:
        self.all.append(("acknowledged", message_id, to))

    def parked(self, message_id: int, to: str, redeliveries: int) -> None:
        self.all.append(("parked", message_id, redeliveries))

    def dropped(self, message_id: int, to: str) -> None:
        self.all.append(("dropped", message_id, to))

    def question_added(self, question: Question) -> None:
        self.all.append(("question added", question.id))

    def question_resolved(self, question: Question) -> None:
        self.all.append(("question resolved", question.id, question.state.value))

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        self.all.append(("reminder due", owner, reminder_id, message_id))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[MessageStore]:
    database = Database.open(path)
    store = MessageStore(database)
    for name in ("alice", "bob", "manager"):
        await store.register(name)
    yield store
    await database.close()


@pytest.fixture
def invocations() -> Invocations:
    return Invocations()


@pytest.fixture
async def broker(store: MessageStore, invocations: Invocations) -> AsyncIterator[Broker]:
    broker = Broker(store._database, CONFIG, invocations)
    await broker.recover()
    yield broker
    async with asyncio.timeout(5):
        await broker.close()


@pytest.fixture
def heard(broker: Broker) -> EventLog:
    broker.events = heard = EventLog()
    return heard


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def deadlines(store: MessageStore, clock: FakeClock) -> Deadlines:
    """Nobody runs them but those tests that do."""
    return Deadlines(store._database, clock)


@pytest.fixture
def questions(broker: Broker, deadlines: Deadlines) -> Questions:
    return Questions(deadlines._database, broker, deadlines, max_open=MAX_OPEN)


@pytest.fixture
def reminders(broker: Broker, deadlines: Deadlines) -> Reminders:
    return Reminders(deadlines._database, broker, deadlines, max_pending=MAX_PENDING)
