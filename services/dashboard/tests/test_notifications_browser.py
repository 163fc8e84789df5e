"""The notifications of a browser, with and without an open page."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import Browser, needs_windows
from services.dashboard.tests.conftest import LogIn, Page

pytestmark = needs_windows


@pytest.fixture(scope="session")
def chromium(whole_chromium: WebDriver) -> WebDriver:
    """Take the whole browser in these tests."""
    return whole_chromium


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
