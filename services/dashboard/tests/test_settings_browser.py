"""The page of settings, passkeys and notifications in a real browser."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
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


async def in_worker(chromium: WebDriver, origin: str, script: str) -> Any:
    """Run a script in the service worker of an origin, and return its value."""
    at = chromium.capabilities["goog:chromeOptions"]["debuggerAddress"]
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://{at}/json") as answer:
            [worker] = [one for one in await answer.json() if one["url"] == f"{origin}/worker.js"]
        async with http.ws_connect(worker["webSocketDebuggerUrl"]) as socket:
            parameters = {"expression": script, "awaitPromise": True, "returnByValue": True}
            await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": parameters})
            told: dict[str, Any] = {}
            while told.get("id") != 1:
                told = await socket.receive_json()
            assert "exceptionDetails" not in told["result"], told
            return told["result"]["result"].get("value")


TROUBLE = ["crash", "deploy-failed", "budget", "notice"]

NO_PUSH = """PushManager.prototype.subscribe = () => Promise.reject(new Error("no network"))"""
"""Tests have no push service: the browser would wait for it."""

PUSH = """const subscription = { endpoint: "https://fcm.googleapis.com/x",
  keys: { p256dh: "BA" + "A".repeat(85), auth: "A".repeat(22) } };
PushManager.prototype.subscribe = () => Promise.resolve({ toJSON: () => subscription });"""

SHOWN = """registration.getNotifications().then((all) =>
  all.map((one) => [one.tag, one.title, one.body, one.actions.map((a) => a.title)]))"""

DISPATCH = """new Promise((end) => {
  const event = %s;
  event.waitUntil = (promise) => promise.then(end);
  dispatchEvent(event);
})"""
"""An event of the script itself cannot make the worker wait."""

PUSHED = DISPATCH % "new PushEvent('push', { data: %s })"

CLICK = """registration.getNotifications().then(([notification]) => %s)""" % (
    DISPATCH % "new NotificationEvent('notificationclick', { notification, action: '%s' })"
)


@pytest.mark.long
async def test_notifications_are_chosen_and_lead_to_the_thing(
    page: Page, browser: Browser, log_in: LogIn, chromium: WebDriver, tmp_path: Path
) -> None:
    def grant(d: WebDriver) -> None:
        permission = {"origin": page.url, "permissions": ["notifications"]}
        d.execute("executeCdpCommand", {"cmd": "Browser.grantPermissions", "params": permission})

    async def shown() -> Any:
        return await in_worker(chromium, page.url, SHOWN)

    await browser.do(grant)
    await log_in()
    page.hive.broker.ask("alice", "operator", "was there before", "yes", "no")
    await browser.open_live(f"{page.url}/settings")
    await browser.do(lambda d: d.execute_script(NO_PUSH))
    await browser.click("[name=on]")
    await browser.sees("#notifications .unavailable", "come while a page of the dashboard is open")
    await browser.click("[value=messages]")
    await browser.until_count("#notifications :disabled", 0)
    await browser.open_live(f"{page.url}/settings")
    assert await browser.value("document.querySelector('[value=messages]').checked") is False
    await browser.do(lambda d: d.execute_script("document.hasFocus = () => false"))  # nobody looks
    page.hive.broker.arrive("alice", "operator", "not wanted")
    page.hive.broker.ask("alice", "operator", "Where \u202eto?", "staging", "production")
    await browser.until(lambda d: asyncio.run(shown()))
    asked = ["question-2", "alice asks you", "Where U+202Eto?", ["staging", "production"]]
    assert await shown() == [asked], "what was there before is no news"

    # A choice on the notification answers, without a page.
    await in_worker(chromium, page.url, CLICK % "choice-1")
    assert page.hive.broker.questions[1].answer == ["production"]
    assert await shown() == []
    push = {"event": "crash", "number": 7, "title": "bob is down", "text": "", "at": 1}
    await in_worker(chromium, page.url, PUSHED % json.dumps(json.dumps(push)))
    assert await shown() == [], "the page is in front of the reader"
    nobody = "Object.defineProperty(WindowClient.prototype, 'focused', { value: false })"
    await in_worker(chromium, page.url, f"{nobody}; 0")
    await in_worker(chromium, page.url, PUSHED % json.dumps(json.dumps(push)))
    assert await shown() == [["crash-7", "bob is down", "", []]]

    # With a push service, the dashboard knows this browser until its session ends.
    await browser.do(lambda d: d.execute_script(PUSH))
    await browser.click("[value=refused]")
    await browser.until_hidden("#notifications .unavailable")
    await browser.until_count("#notifications :disabled", 0)
    targets = tmp_path / "push.json"
    [target] = json.loads(targets.read_text())["targets"]
    assert target["events"] == [
        "approval",
        "question",
        "crash",
        "deploy-failed",
        "budget",
        "notice",
    ]
    await browser.click("[name=muted]")
    await browser.until_count("#notifications :disabled", 0)
    assert json.loads(targets.read_text())["targets"] == []
    await browser.open_live(f"{page.url}/#question-1")
    await browser.sees(".led-to", "was there before")
    assert await browser.value("document.activeElement.matches('.led-to')")
    assert await browser.value("window.violations") == []
