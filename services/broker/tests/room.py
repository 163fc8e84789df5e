"""A broker without a bus, composed for a test, and how to ask it things."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from services.broker.__main__ import compose
from services.broker.messages.broker import Broker
from services.broker.messages.inbox import Holder
from services.broker.messages.invocations import Invocations
from services.broker.parts import Parts
from services.broker.storage.database import Database
from services.broker.tests.clocks import FakeClock
from services.config import BrokerConfig
from wire.errors import Unavailable
from wire.principal import Principal, agent
from wire.records.broker import (
    HoldsChanged,
    Message,
    MessageChange,
    MessageState,
    Question,
    Thread,
)

ALICE, BOB = agent("alice"), agent("bob")
MAX_BODY = 1000
MAX_OPEN = 5
MAX_PENDING = 5
CONFIG = BrokerConfig(
    max_body_bytes=MAX_BODY,
    agent_messages_per_hour=5000,
    max_queued_per_sender=5000,
    max_open_questions=MAX_OPEN,
    loop_messages=0,
    max_pending_reminders=MAX_PENDING,
)
REQUEST = Thread(kind="approval", text="spawn carol: docs")


class FakeRequests:
    """Approvals, with one request."""

    def __init__(self) -> None:
        self.down = False

    async def pending(self, limit: int) -> list[Thread]:
        if self.down:
            raise Unavailable("approvals does not run.")
        return [REQUEST]


class EventLog:
    """A listener that notes the events."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def messages_changed(self, changes: Sequence[MessageChange]) -> None:
        self.all += [_event(change) for change in changes]

    def question_added(self, question: Question) -> None:
        self.all.append(("question added", question.id))

    def question_resolved(self, question: Question) -> None:
        self.all.append(("question resolved", question.id, question.state.value))

    def holds_changed(self, change: HoldsChanged) -> None:
        self.all.append(("held" if change.kind else "not held", change.agent))

    def reminder_added(self, owner: str, reminder_id: int) -> None:
        self.all.append(("reminder added", owner, reminder_id))

    def reminder_cancelled(self, owner: str, reminder_id: int) -> None:
        self.all.append(("reminder cancelled", owner, reminder_id))

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        self.all.append(("reminder due", owner, reminder_id, message_id))


def _event(change: MessageChange) -> tuple[object, ...]:
    match change.state:
        case MessageState.QUEUED:
            return ("queued", change.id, change.sender, change.recipient, change.kind)
        case MessageState.LEASED:
            return ("delivered", change.id, change.redeliveries)
        case MessageState.DEAD:
            return ("parked", change.id, change.redeliveries)
    return (change.state.value, change.id, change.recipient)


def make_room(
    database: Database,
    config: BrokerConfig = CONFIG,
    *,
    invocations: Invocations | None = None,
    clock: FakeClock | None = None,
    requests: FakeRequests | None = None,
) -> Parts:
    """Compose a broker on `database`; nobody runs its deadlines."""
    return compose(
        database,
        config,
        invocations or Invocations(),
        requests or FakeRequests(),
        clock or FakeClock(),
    )


async def restart(room: Parts, config: BrokerConfig = CONFIG) -> Parts:
    """Compose another broker on the store of `room`, which is as good as killed."""
    another = make_room(room.database, config)
    await another.broker.recover()
    return another


def holder(name: str = ":1.1") -> Holder:
    return Holder(name, asyncio.get_running_loop().create_future())


async def listed(
    room: Parts, who: Principal, wanted: Mapping[str, object], limit: int
) -> list[Message]:
    return await room.history.list_messages(who, wanted, limit)


async def ids(broker: Broker, who: Principal, at: Holder, limit: int = 100) -> list[int]:
    return [message.id for message in await broker.receive(who, at, limit, 0)]


async def waiting(
    room: Parts, at: Holder, who: Principal = BOB, limit: int = 1
) -> "asyncio.Task[list[Message]]":
    """Start a Receive; return when it waits."""
    before = room.inboxes[who.voice].waiting
    task = asyncio.create_task(room.broker.receive(who, at, limit, 180_000))
    await until_idle(room)
    assert room.inboxes[who.voice].waiting == before + 1
    return task


async def until_idle(room: Parts) -> None:
    """Wait until the store has answered all calls so far, and everybody has reacted."""
    for _ in range(3):
        await asyncio.sleep(0)
        await room.database.write(lambda db: None)
        await asyncio.sleep(0)


@asynccontextmanager
async def refusing(database: Database, table: str, column: str) -> AsyncIterator[list[str]]:
    """Refuse updates of a column, as a full disk would; yields a list with an entry a refusal."""
    refused: list[str] = []

    def authorize(action: int, one: str | None, two: str | None, *_: str | None) -> int:
        if (action, one, two) != (sqlite3.SQLITE_UPDATE, table, column):
            return sqlite3.SQLITE_OK
        refused.append(table)
        return sqlite3.SQLITE_DENY

    await database.write(lambda db: db.set_authorizer(authorize))
    try:
        yield refused
    finally:
        await database.write(lambda db: db.set_authorizer(None))
