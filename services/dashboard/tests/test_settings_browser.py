"""The page of settings, and passkeys, in a real browser."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from services.config import DashboardConfig
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire.records.dashboard import Role

pytestmark = needs_chromium


SHOWS = "(element) => element.checkVisibility({ visibilityProperty: true })"

HOST = "hive.localhost"
"""A name of the loopback: browsers have passkeys for names only."""


@pytest.fixture
def config() -> DashboardConfig:
    return DashboardConfig(allowed_hosts=(HOST,))


@pytest.mark.long
async def test_sessions_are_shown_and_ended(page: Page, browser: Browser, log_in: LogIn) -> None:
    await log_in()
    await page.log_in(Role.GUEST)
    await browser.click('nav a[href="/settings"]')
    await browser.sees("#login-role", "an operator: you may do everything")
    await browser.sees("#sessions li", "Chrome on Linux, operator")
    await browser.sees("#sessions .own", "this browser")
    await browser.sees("#sessions li", "Unknown browser, guest")
    await browser.sees("#sessions li", "by link · used")
    assert (await page.get("/api/state"))[0] == 200
    await browser.click("#sessions li:not(:has(.own)) button")
    await browser.until_count("#sessions li", 1)
    assert (await page.get("/api/state"))[0] == 401
    await browser.sees("#passkeys .unavailable", "no passkeys for an address such as 127.0.0.1")


@pytest.mark.long
async def test_a_guest_sees_no_controls(page: Page, browser: Browser) -> None:
    await browser.open(await page.link(Role.GUEST))
    await browser.click("#with-link button")
    await browser.open_live(f"{page.url}/settings")
    await browser.sees("#login-role", "a guest: you may only read")
    for section in ("sessions", "passkeys", "notifications"):
        await browser.until_hidden(f"#{section}")
    page.hive.broker.ask("alice", "operator", "Where to?", "staging", "production")
    page.hive.broker.arrive("alice", "operator", "forty-two")
    page.hive.approvals.ask("carol", "to help alice")
    await browser.open_live(page.url)
    for text in ("Where to?", "forty-two", "to help alice"):
        await browser.sees("main", text)
    posting = (
        "#compose, .pending button, .asked form, .asked button, .message button, tr .actions button"
    )
    assert await browser.value(f"[...document.querySelectorAll({posting!r})].filter({SHOWS})") == []
    assert await browser.value("window.violations") == []


@asynccontextmanager
async def authenticator(driver: WebDriver) -> AsyncIterator[None]:
    """Give the browser a passkey store whose owner always agrees."""

    def command(name: str, **parameters: Any) -> Any:
        return driver.execute("executeCdpCommand", {"cmd": name, "params": parameters})["value"]

    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    await asyncio.to_thread(command, "WebAuthn.enable")
    made = await asyncio.to_thread(command, "WebAuthn.addVirtualAuthenticator", options=options)
    yield
    number = made["authenticatorId"]
    await asyncio.to_thread(command, "WebAuthn.removeVirtualAuthenticator", authenticatorId=number)
    await asyncio.to_thread(command, "WebAuthn.disable")


@pytest.mark.long
async def test_a_passkey_logs_in_without_a_link_until_it_is_removed(
    page: Page, browser: Browser, chromium: WebDriver
) -> None:
    origin = page.url.replace("127.0.0.1", HOST)
    async with authenticator(chromium):
        await browser.open((await page.link(Role.REVIEWER)).replace("127.0.0.1", HOST))
        await browser.until_hidden("[data-way=passkey]")
        await browser.click("#with-link button")
        await browser.open_live(f"{origin}/settings")
        await browser.type("#passkey-name", "my phone")
        await browser.click("#passkeys form button")
        await browser.sees("#passkeys li", "my phone, reviewer")
        await browser.click("#passkeys form button")
        await browser.sees("#passkeys .error", "has a passkey for the hive already")
        await browser.click("#logout")
        await browser.click("[data-way=passkey]")
        await browser.sees("#link", "Live")
        await browser.open_live(f"{origin}/settings")
        await browser.sees("#login-role", "a reviewer")
        await page.log_in()
        rows = (await page.get("/api/sessions"))[1]["sessions"]
        [used] = [row for row in rows if row["way"] == "passkey"]
        assert (used["role"], used["name"]) == ("reviewer", "my phone")
        await browser.click("#passkeys li button")
        await browser.sees("#how", "hivectl login-link")  # its session has ended with it
        await browser.until_hidden("[data-way=passkey]")
    assert await browser.value("window.violations") == []
