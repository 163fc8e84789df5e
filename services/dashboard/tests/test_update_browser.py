"""Tabs that were opened before an update of the dashboard."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from services.config import DashboardConfig
from services.dashboard.__main__ import DashboardService
from services.dashboard.http import pages
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.test_tabs_browser import open_tabs, switch
from wire import web_socket
from wire.agent_web import AgentWeb
from wire.fixtures import Connect

pytestmark = needs_chromium

VERSION = "document.querySelector('meta[name=hyperhive-version]').content"


@asynccontextmanager
async def updated(page: Page, connect: Connect) -> AsyncIterator[None]:
    """Put another dashboard in the place of the one that runs, on its port."""
    page.dashboard.drain()
    await page.dashboard.close()
    listener = socket.create_server(("127.0.0.1", int(page.url.rpartition(":")[2])))
    listener.setblocking(False)
    web = AgentWeb(partial(web_socket.connect, directory=page.agents))
    state = page.agents.parent
    dashboard = DashboardService(await connect(), listener, state, DashboardConfig(), web)
    await dashboard.start()
    run = asyncio.create_task(dashboard.run())
    try:
        yield
    finally:
        run.cancel()
        await asyncio.wait([run])
        dashboard.drain()
        await dashboard.close()


@pytest.mark.long
async def test_tabs_of_an_older_dashboard_are_loaded_again_unless_something_is_typed(
    page: Page,
    browser: Browser,
    log_in: LogIn,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await log_in()
    idle, typed, deciding, late = await open_tabs(
        browser, page.url, ("/messages", "/", "/agents/alice", "/")
    )
    await switch(browser, typed)
    await browser.type("#compose-text", "a draft")
    await switch(browser, deciding)
    await browser.type("#write-text", "a word")
    monkeypatch.setattr(pages, "version_of", lambda *_: "f" * 16)
    async with updated(page, connect):
        for tab in (idle, late):
            await switch(browser, tab)
            await browser.until(lambda d: d.execute_script(f"return {VERSION}") == "f" * 16)
            await browser.sees("#link", "Live")
        for tab in (typed, deciding):
            await switch(browser, tab)
            await browser.sees("#notices", "The dashboard was updated.")
            assert await browser.value(VERSION) != "f" * 16
        assert await browser.value("document.querySelector('#write-text').value") == "a word"
        page.hive.broker.arrive("alice", "operator", "to all tabs")
        for tab in (idle, typed, late):
            await switch(browser, tab)
            await browser.sees(".flow .body", "to all tabs")
        await switch(browser, typed)
        await browser.click("#notices button")
        await browser.until(lambda d: d.execute_script(f"return {VERSION}") == "f" * 16)
        await browser.until_count("#notices li", 0)


@pytest.mark.long
async def test_a_page_whose_files_stay_old_is_not_loaded_again_and_again(
    page: Page,
    browser: Browser,
    log_in: LogIn,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy may keep the old page: the version in it never becomes that of the state."""
    await log_in()
    versions = iter(("e" * 16, "f" * 16))
    monkeypatch.setattr(pages, "version_of", lambda *_: next(versions))
    await browser.value("sessionStorage.setItem('before', '1')")
    async with updated(page, connect):
        await browser.sees("#notices", "The dashboard was updated.")
        assert await browser.value(VERSION) == "e" * 16
        assert await browser.value("performance.getEntriesByType('navigation')[0].type") == "reload"
        await browser.click("#notices button")
        await browser.until(lambda d: d.execute_script("return document.readyState") == "complete")
        await browser.sees("#notices", "The dashboard was updated.")
