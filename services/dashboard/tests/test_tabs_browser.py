"""Many tabs of one browser: one event stream, live and at work in all of them."""

import asyncio
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import TIME_LIMIT, Browser, needs_windows, watch
from services.dashboard.tests.conftest import LogIn, Page

pytestmark = needs_windows


@pytest.fixture(scope="session")
def chromium(whole_chromium: WebDriver) -> WebDriver:
    """Take the whole browser in these tests."""
    return whole_chromium


TABS = (
    "/",
    "/agents/alice",
    "/agents/manager",
    "/agents/alice",
    "/agents/bob",
    "/",
    "/agents/alice/turns/1",
    "/agents/manager",
)

EVENTS = "[...document.querySelectorAll('.tail .event')].map((one) => Number(one.id.slice(6)))"

ALONE = """
delete window.SharedWorker;
const later = window.setTimeout;
window.setTimeout = (call, ms, ...more) => later(call, ms === 15000 ? 100 : ms, ...more);
"""
"""The script of a browser without shared workers, in which a hidden tab does not wait long."""


async def open_tabs(browser: Browser, url: str, paths: tuple[str, ...], script: str = "") -> Any:
    """Open a tab for each path, and wait until it is live; return the tabs."""
    command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": script}}
    handles = []
    for path in paths:
        await open_tab(browser)
        await browser.do(lambda d: d.execute("executeCdpCommand", command))
        await browser.open_live(url + path)
        handles.append(await browser.do(lambda d: d.current_window_handle))
    return handles


async def open_tab(browser: Browser) -> None:
    await browser.do(lambda d: d.switch_to.new_window("tab"))
    await browser.do(watch)


async def switch(browser: Browser, handle: str) -> None:
    await browser.do(lambda d: d.switch_to.window(handle))


@pytest.mark.long
async def test_eight_tabs_share_one_stream_and_all_are_live_and_at_work(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    agents = page.hive.agents
    async with page.harness("alice") as alice, page.harness("manager") as manager:
        for harness in (alice, manager):
            harness.add("text", 1, text="early")
        tabs = await open_tabs(browser, page.url, TABS)
        alice.add("text", 1, text="late alice")
        manager.add("text", 1, text="late manager")
        agents["bob"].become("failed")
        page.hive.broker.arrive("alice", "operator", "to all tabs")
        for tab, path in zip(tabs, TABS, strict=True):
            await switch(browser, tab)
            await browser.sees("#link", "Live")
            if path == "/":
                await browser.sees("#agents tr[data-key=bob] .state", "failed")
                await browser.sees(".flow .body", "to all tabs")
            elif path == "/agents/bob":
                await browser.sees("#agent .state", "failed")
            elif "turns" not in path:
                name = path.rpartition("/")[2]
                await browser.sees(".tail .event", f"late {name}")
                assert await browser.value(EVENTS) == [1, 2]
        assert page.streams.open == 1
        # The first tab and one of the last still send requests, while all streams are open.
        await switch(browser, tabs[0])
        await browser.click("#trouble [data-key=bob] [data-verb=start]")
        await browser.until(lambda _: agents["bob"].calls == ["start"])
        await switch(browser, tabs[7])
        await browser.click("#agent .actions [data-verb=restart]")
        await browser.until(lambda _: agents["manager"].calls == ["restart"])
        assert await browser.violations() == []
        # A tab that closes takes nothing from the others.
        await browser.do(lambda d: d.close())
        await switch(browser, tabs[2])
        manager.add("text", 1, text="after it")
        await browser.sees(".tail .event", "after it")
        assert await browser.value(EVENTS) == [1, 2, 3]
        # A harness that goes and comes back leaves no gap in any tab.
        await alice.stop()
        await switch(browser, tabs[1])
        await browser.sees("#tail-away", "alice")
        alice.add("text", 1, text="meanwhile")
        await alice.start(page.agents / "alice")
        agents["alice"].show(turn_since=1)
        for tab in (tabs[3], tabs[1]):
            await switch(browser, tab)
            await browser.sees(".tail .event", "meanwhile")
            assert await browser.value(EVENTS) == [1, 2, 3]
        # Logging out in one tab ends all of them.
        await browser.press("#logout")
        for tab in tabs[:7]:
            await switch(browser, tab)
            await browser.sees("#how", "hivectl login-link")
    async with asyncio.timeout(TIME_LIMIT):
        await page.streams.until_ended(page.streams.begun)


@pytest.mark.long
async def test_without_shared_workers_eight_tabs_take_turns(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """A browser opens six connections to a host: tabs that are not shown give theirs up."""
    await log_in()
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="hello")
        tabs = await open_tabs(browser, page.url, ("/agents/alice",) * 8, ALONE)
        harness.add("text", 1, text="to the first")
        await switch(browser, tabs[0])
        await browser.sees(".tail .event", "to the first")
        await browser.sees("#link", "Live")
        assert await browser.value(EVENTS) == [1, 2]
        # The tab went on from its last event; it did not begin again.
        begun = [path for path in harness.requests if path.startswith("/v1/events?")]
        assert len(begun) == 8


@pytest.mark.long
async def test_a_login_leads_back_to_the_page_that_asked_for_it(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    # In a new tab, which the link opens; the tabs that wait for a login follow.
    await browser.open(f"{page.url}/agents/alice?x#live")
    await browser.sees("#how", "hivectl login-link")
    first = await browser.do(lambda d: d.current_window_handle)
    await open_tab(browser)
    await log_in()
    await browser.sees("#agent-name", "alice")
    assert await browser.value("location.href") == f"{page.url}/agents/alice?x#live"
    await switch(browser, first)
    await browser.sees("#link", "Live")
    assert await browser.value("location.href") == f"{page.url}/agents/alice?x#live"
    # The session expires, which the next request finds out.
    await browser.open_live(f"{page.url}/agents/manager")
    secret = await browser.value("localStorage.getItem('hyperhive-session')")
    assert (await page.post("/logout", **{"Hyperhive-Session": secret}))[0] == 200
    await browser.sees("#how", "hivectl login-link")
    await log_in()
    await browser.sees("#agent-name", "manager")
    # After a logout, a login leads to the main page.
    await browser.press("#logout")
    await browser.sees("#how", "hivectl login-link")
    await log_in()
    assert await browser.value("location.pathname") == "/"
    # An address that nobody serves is a page that leads back.
    await browser.open(f"{page.url}/xyz")
    await browser.sees("[role=alert]", "There is no page at /xyz.")
    await browser.press("a[href='/']")
    await browser.sees("#link", "Live")
