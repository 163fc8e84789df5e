"""When a source is asked, and for what."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.notify import watch as under_test
from services.notify.news import News
from services.notify.notifier import Notifier
from services.notify.sources import Messages, Source
from services.notify.tests.conftest import PATIENCE, asks
from services.notify.tests.fakes import FakeBroker, Looked
from services.notify.watch import Watch
from wire import names
from wire.bus import Bus
from wire.errors import LimitExceeded, Unavailable
from wire.fixtures import Connect
from wire.principal import Kind, Principal
from wire.testing import FixedPrincipals


class Listed(Source):
    """Answers by list; an exception in it is raised."""

    name = "questions"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "QuestionAdded"},)

    def __init__(self, *answers: list[News] | Exception) -> None:
        self.answers = list(answers)
        self.after: list[int] = []
        self.asked = asyncio.Condition()

    async def fetch(self, bus: Bus, after: int) -> list[News]:
        async with self.asked:
            self.after.append(after)
            self.asked.notify_all()
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE), self.asked:
            await self.asked.wait_for(lambda: len(self.after) >= times)


class Taken(Notifier):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.all: list[tuple[list[int], bool]] = []

    def take(self, source: str, listed: object, *, whole: bool = False) -> None:
        assert isinstance(listed, list)
        self.all.append(([one.number for one in listed], whole))


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


async def test_all_at_first_and_then_what_is_newer(
    connect: Connect, broker: FakeBroker, tasks: list[asyncio.Task[None]]
) -> None:
    source, taken = Listed([asks(7), asks(9)], [asks(10)]), Taken()
    tasks.append(asyncio.create_task(Watch(await connect(), source, taken).run()))
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
    monkeypatch.setattr(under_test, "AGAIN", 0.01)
    source, taken = Listed([asks(3)], LimitExceeded("too long"), [asks(3), asks(4)]), Taken()
    tasks.append(asyncio.create_task(Watch(await connect(), source, taken).run()))
    await source.until_asked(1)
    broker.QuestionAdded("operator", 4, "alice")
    await source.until_asked(3)
    assert source.after == [0, 3, 0]
    assert taken.all == [([3], True), ([3, 4], True)]


async def test_a_service_that_is_away_is_left_alone_until_it_is_back(
    connect: Connect,
    broker: FakeBroker,
    tasks: list[asyncio.Task[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_test, "AGAIN", 0.0)
    source, taken = Listed(Unavailable("away"), [asks(3)]), Taken()
    client = await connect()
    tasks.append(asyncio.create_task(Watch(client, source, taken).run()))
    await source.until_asked(1)
    for _ in range(5):  # long enough for it to ask often
        await client.call(names.BROKER, names.BROKER_PATH, "org.freedesktop.DBus.Peer", "Ping")
    assert source.after == [0]
    broker.QuestionAdded("operator", 3, "alice")
    await source.until_asked(2)
    assert taken.all == [([3], True)]


async def test_what_the_operator_has_read_is_no_news(connect: Connect, broker: FakeBroker) -> None:
    for state in ("queued", "leased", "acknowledged", "dead", "dropped"):
        broker.messages[broker.tell("system", "needs-login", state) - 1][9] = state
    broker.tell("alice", "message", "of an agent")
    found = await Messages().fetch(await connect(), 0)
    assert [one.text for one in found] == ["queued", "leased"]
