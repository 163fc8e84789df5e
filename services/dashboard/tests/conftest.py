import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from services.config import DashboardConfig
from services.dashboard.dashboard import Dashboard
from services.dashboard.stream import Streams
from services.dashboard.tests.fakes import FakeHive
from wire import names
from wire.bus import Bus
from wire.fixtures import Connect

PATIENCE = 10.0


@dataclass
class Page:
    """A client: the dashboard on a real socket, as a browser would speak to it."""

    url: str
    bus: Bus
    hive: FakeHive
    buses: dict[str, Bus]
    http: aiohttp.ClientSession
    dashboard: Dashboard

    @property
    def streams(self) -> Streams:
        return self.dashboard.streams

    async def link(self) -> str:
        url = await self.bus.call1(
            names.DASHBOARD, names.DASHBOARD_PATH, names.DASHBOARD, "LoginLink"
        )
        assert isinstance(url, str)
        return url

    async def token(self) -> str:
        return parse_qs(urlsplit(await self.link()).query)["token"][0]

    async def log_in(self) -> None:
        status, _ = await self.post("/login", {"token": await self.token()})
        assert status == 200

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

    async def tables(self) -> dict[str, dict[str, Any]]:
        status, state = await self.get("/api/state")
        assert status == 200
        tables: dict[str, dict[str, Any]] = state["tables"]
        return tables

    async def until(self, holds: Callable[[dict[str, dict[str, Any]]], object]) -> dict[str, Any]:
        """Wait, event by event, until the tables are as wanted."""
        async with asyncio.timeout(PATIENCE):
            async with self.http.get(f"{self.url}/api/events") as stream:
                while not holds(tables := await self.tables()):
                    await stream.content.readuntil(b"\n\n")
        return tables

    async def until_fewer_streams(self, count: int) -> None:
        """Nothing tells of this, so turn the loop: each turn lets handlers end."""
        async with asyncio.timeout(PATIENCE):
            while len(self.streams._open) >= count:  # noqa: ASYNC110
                await asyncio.sleep(0)


def listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


@pytest.fixture
async def page(connect: Connect, tmp_path: Path) -> AsyncIterator[Page]:
    """The dashboard over three fake services, not logged in."""
    hive = FakeHive()
    buses = {name: await connect() for name in ("broker", "lifecycle", "approvals")}
    await hive.serve_broker(buses["broker"])
    await hive.serve_lifecycle(buses["lifecycle"])
    await hive.serve_approvals(buses["approvals"])
    bus, listener = await connect(), listen()
    dashboard = Dashboard(bus, listener, tmp_path, DashboardConfig())
    await bus.own(names.DASHBOARD)
    await dashboard.start()
    run = asyncio.create_task(dashboard.run())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    jar = aiohttp.CookieJar(unsafe=True)  # it has no cookies for bare addresses otherwise
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Page(url, await connect(), hive, buses, http, dashboard)
    run.cancel()
    await asyncio.wait([run])
    dashboard.drain()
    await dashboard.close()
