import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.broker.deadlines.deadlines import Deadlines
from services.broker.messages.broker import Broker
from services.broker.messages.invocations import Invocations
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.storage.database import Database
from services.broker.tests.clocks import FakeClock
from services.broker.tests.room import EventLog, FakeRequests, make_room


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "broker.sqlite"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database.open(path)
    yield database
    await database.close()


@pytest.fixture
async def store(database: Database) -> MessageStore:
    """Register some agents."""
    store = MessageStore(database)
    for name in ("alice", "bob", "manager"):
        await store.register(name)
    return store


@pytest.fixture
def invocations() -> Invocations:
    return Invocations()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def requests() -> FakeRequests:
    return FakeRequests()


@pytest.fixture
async def room(
    database: Database,
    store: MessageStore,
    invocations: Invocations,
    clock: FakeClock,
    requests: FakeRequests,
) -> AsyncIterator[Parts]:
    room = make_room(database, invocations=invocations, clock=clock, requests=requests)
    await room.broker.recover()
    yield room
    async with asyncio.timeout(5):
        room.inboxes.stop()
        await room.writes.wait()


@pytest.fixture
def broker(room: Parts) -> Broker:
    return room.broker


@pytest.fixture
def questions(room: Parts) -> Questions:
    return room.questions


@pytest.fixture
def reminders(room: Parts) -> Reminders:
    return room.reminders


@pytest.fixture
def deadlines(room: Parts) -> Deadlines:
    return room.deadlines


@pytest.fixture
def events(room: Parts) -> EventLog:
    room.announcer.listener = events = EventLog()
    return events
