"""The times at which a source is asked, and for which items."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.notify.clients import watcher as under_test
from services.notify.clients.sources import Questions, Source, SystemMessages
from services.notify.clients.watcher import Watcher
from services.notify.notification import Notification
from services.notify.notifier import Notifier
from services.notify.tests.conftest import TIME_LIMIT, asks
from services.notify.tests.fakes import FakeBroker, Looked
from wire import names
from wire.bus import Bus
from wire.errors import LimitExceeded, Unavailable
from wire.fixtures import Connect
from wire.principal import Kind, Principal
from wire.records.broker import MessageState
from wire.testing import FixedPrincipals


class Listed(Source):
    """A source that answers by list; an exception in the list is raised."""

    name = "questions"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "QuestionAdded"},)

    def __init__(self, *answers: list[Notification] | Exception) -> None:
        self.answers = list(answers)
        self.after: list[int] = []
        self.asked = asyncio.Condition()

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        async with self.asked:
            self.after.append(after)
            self.asked.notify_all()
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(TIME_LIMIT), self.asked:
            await self.asked.wait_for(lambda: len(self.after) >= times)


class Taken(Notifier):
    """A notifier that notes its calls."""

    def __init__(self) -> None:
        self.all: list[tuple[list[int], bool]] = []

    def process(self, source: str, listed: object, *, complete: bool = False) -> None:
        assert isinstance(listed, list)
        self.all.append(([one.number for one in listed], complete))


@pytest.fixture
async def broker(connect: Connect, principals: FixedPrincipals) -> FakeBroker:
    principals.default = Principal(Kind.SERVICE, "notify")
    bus, broker = await connect(), FakeBroker(Looked())
    bus.export(names.BROKER_PATH, broker)
    await bus.own(names.BROKER)
    return broker


@pytest.fixture
async def tasks() -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_all_items_are_asked_for_at_first_then_newer_ones(
    connect: Connect, broker: FakeBroker, tasks: list[asyncio.Task[None]]
) -> None:
    source, taken = Listed([asks(7), asks(9)], [asks(10)]), Taken()
    tasks.append(asyncio.create_task(Watcher(await connect(), source, taken).run()))
    await source.until_asked(1)
    broker.QuestionAdded("operator", 10, "alice")
    await source.until_asked(2)
    broker.QuestionAdded("operator", 11, "alice")
    await source.until_asked(3)
    assert source.after == [0, 9, 10]
    assert taken.all[:2] == [([7, 9], True), ([10], False)]


async def test_a_source_that_could_not_answer_is_asked_again_for_all(
    connect: Connect,
    broker: FakeBroker,
    tasks: list[asyncio.Task[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "RETRY_SECONDS", 0.01)
    source, taken = Listed([asks(3)], LimitExceeded("too long"), [asks(3), asks(4)]), Taken()
    tasks.append(asyncio.create_task(Watcher(await connect(), source, taken).run()))
    await source.until_asked(1)
    broker.QuestionAdded("operator", 4, "alice")
    await source.until_asked(3)
    assert source.after == [0, 3, 0]
    assert taken.all == [([3], True), ([3, 4], True)]


async def test_a_stopped_service_is_not_asked_until_it_is_back(
    connect: Connect,
    broker: FakeBroker,
    tasks: list[asyncio.Task[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "RETRY_SECONDS", 0.0)
    source, taken = Listed(Unavailable("away"), [asks(3)]), Taken()
    client = await connect()
    tasks.append(asyncio.create_task(Watcher(client, source, taken).run()))
    await source.until_asked(1)
    for _ in range(5):  # enough time to ask several times
        await client.call(names.BROKER, names.BROKER_PATH, "org.freedesktop.DBus.Peer", "Ping")
    assert source.after == [0]
    broker.QuestionAdded("operator", 3, "alice")
    await source.until_asked(2)
    assert taken.all == [([3], True)]


async def test_messages_that_the_operator_has_read_are_left_out(
    connect: Connect, broker: FakeBroker
) -> None:
    for state in MessageState:
        broker.tell("system", "needs-login", state, state)
    broker.tell("alice", "message", "of an agent")
    found = await SystemMessages().fetch(await connect(), 0)
    assert [one.text for one in found] == ["queued", "leased"]


async def test_dead_letters_count_towards_the_agent_that_made_them(
    connect: Connect, broker: FakeBroker
) -> None:
    broker.tell("system", "dead-letter", "12 messages to bob-2 could not be delivered.\nMessage 1")
    broker.tell("system", "container-crash", "1 message to bob-2 could not be delivered.")
    found = await SystemMessages().fetch(await connect(), 0)
    assert [one.origin for one in found] == ["bob-2", ""]


async def test_questions_of_the_hive_itself_are_not_limited(
    connect: Connect, broker: FakeBroker
) -> None:
    for asker in ("system", "operator", "alice"):
        broker.ask(asker, "Are they in a loop?")
    found = await Questions().fetch(await connect(), 0)
    assert [one.origin for one in found] == ["", "", "alice"]
