import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from selenium.webdriver.remote.webdriver import WebDriver

from services.config import DashboardConfig
from services.dashboard import __main__ as root
from services.dashboard.__main__ import DashboardService
from services.dashboard.clients.services import SERVICES
from services.dashboard.http.event_streams import NO_TAILS, EventStreams
from services.dashboard.http.places import Owner
from services.dashboard.http.proxy import Proxy
from services.dashboard.state.event_log import EventLog
from services.dashboard.state.tables import Row
from services.dashboard.tests.browser import TIME_LIMIT as TIME_LIMIT
from services.dashboard.tests.browser import WHOLE, Browser, new_tab, running_chromium
from services.dashboard.tests.fake_harness import FakeHarness, serving
from services.dashboard.tests.fakes.hive import FakeHive
from wire import names, web_socket
from wire.agent_web import AgentWeb
from wire.bus import Bus
from wire.clients.dashboard import DashboardClient
from wire.fixtures import Connect
from wire.records.dashboard import Role

Tables = dict[str, dict[str, Any]]

LogIn = Callable[[], Awaitable[None]]


class CountedStreams(EventStreams):
    """Event streams that report the end of each; tests set their limits."""

    limit = 64
    write_seconds = 20.0

    def __init__(self, log: EventLog) -> None:
        super().__init__(log, self.limit, self.write_seconds)
        self.begun = 0
        self._ended = 0
        self._changed = asyncio.Condition()

    async def serve(
        self,
        request: web.Request,
        owner: Owner,
        seconds: float,
        tails: Mapping[str, AsyncGenerator[Row, None]] = NO_TAILS,
    ) -> web.StreamResponse:
        self.begun += 1
        try:
            return await super().serve(request, owner, seconds, tails)
        finally:
            self._ended += 1
            async with self._changed:
                self._changed.notify_all()

    @property
    def open(self) -> int:
        """The streams that are open."""
        return self.begun - self._ended

    async def until_ended(self, count: int) -> None:
        """Wait until so many streams have ended, since the start of the test."""
        async with asyncio.timeout(TIME_LIMIT), self._changed:
            await self._changed.wait_for(lambda: self._ended >= count)


@dataclass
class Page:
    """A client of the dashboard on a real socket, which sends the requests of a browser."""

    url: str
    bus: Bus
    hive: FakeHive
    buses: dict[str, Bus]
    http: aiohttp.ClientSession
    dashboard: DashboardService
    streams: CountedStreams
    agents: Path
    """The directory of the agents' sockets."""

    def harness(self, agent: str) -> AbstractAsyncContextManager[FakeHarness]:
        """Serve the socket of a harness."""
        return serving(FakeHarness(), self.agents / agent)

    async def link(self, role: Role = Role.OPERATOR) -> str:
        return await DashboardClient(self.bus).login_link(role)

    async def token(self, role: Role = Role.OPERATOR) -> str:
        return parse_qs(urlsplit(await self.link(role)).fragment)["token"][0]

    async def log_in(self, role: Role = Role.OPERATOR) -> None:
        status, answer = await self.post("/login", {"token": await self.token(role)})
        assert status == 200
        self.http.headers["Hyperhive-Session"] = answer["session"]

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.http.get(
            self.url + path, headers=headers, allow_redirects=False
        ) as response:
            is_json = response.content_type == "application/json"
            return response.status, await (response.json() if is_json else response.text())

    async def post(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        headers = {"Origin": self.url, **headers}
        async with self.http.post(self.url + path, json=body or {}, headers=headers) as response:
            return response.status, await response.json()

    async def tables(self) -> Tables:
        status, state = await self.get("/api/state")
        assert status == 200
        tables: Tables = state["tables"]
        return tables

    async def until(self, holds: Callable[[Tables], object]) -> Tables:
        """Wait, event by event, until the tables are as wanted; return them."""
        async with asyncio.timeout(TIME_LIMIT):
            async with self.http.get(f"{self.url}/api/events") as stream:
                while not holds(tables := await self.tables()):
                    await stream.content.readuntil(b"\n\n")
        return tables


def listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[CountedStreams]:
    """The event streams of each dashboard that the test makes."""
    made: list[CountedStreams] = []

    def make(log: EventLog) -> CountedStreams:
        made.append(CountedStreams(log))
        return made[-1]

    monkeypatch.setattr(root, "EventStreams", make)
    return made


@pytest.fixture
def metrics_token() -> str | None:
    """The token that reads the metrics; a test may give another."""
    return None


@pytest.fixture
def config() -> DashboardConfig:
    """The settings; a test may give others."""
    return DashboardConfig()


@pytest.fixture
def proxy_token() -> str | None:
    """The token that the proxy sends; a test may give one."""
    return None


@pytest.fixture
async def page(
    connect: Connect,
    streams: list[CountedStreams],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    metrics_token: str | None,
    config: DashboardConfig,
    proxy_token: str | None,
) -> AsyncIterator[Page]:
    """The dashboard over fake services; the page is not logged in."""
    # A stream that does not end by itself must be noticed, so nothing may abort it.
    monkeypatch.setattr(root, "SHUTDOWN_SECONDS", 2 * TIME_LIMIT)
    hive = FakeHive()
    buses = {name: await connect() for name in SERVICES}
    await hive.serve_broker(buses["broker"])
    await hive.serve_lifecycle(buses["lifecycle"])
    await hive.serve_approvals(buses["approvals"])
    await hive.serve_ledger(buses["ledger"])
    await hive.serve_projects(buses["projects"])
    bus, listener = await connect(), listen()
    agents = tmp_path / "agents"
    dashboard = DashboardService(
        bus,
        listener,
        tmp_path,
        config,
        AgentWeb(partial(web_socket.connect, directory=agents)),
        metrics_token,
        partial(web_socket.connect_port, directory=agents),
        proxy=Proxy(config, proxy_token),
        connect_terminal=partial(web_socket.connect_terminal, directory=agents),
    )
    await bus.own(names.DASHBOARD)
    await dashboard.start()
    run = asyncio.create_task(dashboard.run())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession() as http:
        yield Page(url, await connect(), hive, buses, http, dashboard, streams[0], agents)
    run.cancel()
    await asyncio.wait([run])
    dashboard.drain()
    await dashboard.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Run one chromium for all tests: a start takes longer than most of them."""
    with running_chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def whole_chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Run one chromium with windows, for the modules that take it in the place of `chromium`."""
    with running_chromium(tmp_path_factory.mktemp("whole"), WHOLE or "chromium") as driver:
        yield driver


@pytest.fixture
async def browser(chromium: WebDriver) -> AsyncIterator[Browser]:
    """Return a browser with one tab, in which nothing is left of other tests."""
    tab = new_tab(chromium)
    await asyncio.to_thread(tab.__enter__)
    yield Browser(chromium)
    await asyncio.to_thread(tab.__exit__, None, None, None)


@pytest.fixture
async def log_in(page: Page, browser: Browser) -> LogIn:
    """Return a function that logs the browser in."""

    async def enter() -> None:
        await browser.open(await page.link())
        await browser.click("#with-link button")
        await browser.sees("#link", "Live")

    return enter
