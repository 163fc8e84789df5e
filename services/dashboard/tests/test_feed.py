"""The base of the feeds: answers and owners of the name that overtake each other."""

import asyncio

from services.dashboard.clients.feed import Feed
from services.dashboard.state.event_log import EventLog
from services.dashboard.state.page_state import PageState
from services.dashboard.state.tables import Table, Tables
from services.dashboard.tests.conftest import TIME_LIMIT
from wire import names
from wire.bus import Bus
from wire.fixtures import Connect
from wire.signals import Signal


class SlowFeed(Feed):
    """A feed whose answers arrive when the test says so."""

    service = "broker"
    rules = ()

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self.asked: asyncio.Queue[None] = asyncio.Queue()
        self.answers: asyncio.Queue[None] = asyncio.Queue()

    async def fetch_all(self) -> None:
        self.asked.put_nowait(None)
        await self.answers.get()

    def apply(self, signal: Signal) -> None:
        pass


async def test_an_answer_from_before_the_service_left_does_not_make_it_available(
    connect: Connect,
) -> None:
    log = EventLog("e")
    tables = Tables(log)
    broker = await connect()
    await broker.own(names.BROKER)
    feed = SlowFeed(await connect(), PageState(tables))
    run = asyncio.create_task(feed.run())
    async with asyncio.timeout(TIME_LIMIT):
        await feed.asked.get()
        await broker.close()
        await log.wait_after(0)  # the name has lost its owner
        feed.request_all()
        feed.answers.put_nowait(None)
        await feed.asked.get()  # the late answer was handled
        assert tables.rows(Table.SERVICES)["broker"]["available"] is False
        feed.request_all()
        feed.answers.put_nowait(None)
        await feed.asked.get()
        assert tables.rows(Table.SERVICES)["broker"]["available"] is True
    run.cancel()
    await asyncio.wait([run])
