"""Services that are stopped: each page says so at once, where it matters, with its old rows."""

import pytest

from services.dashboard.clients.services import SERVICES
from services.dashboard.http import pages
from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire.fixtures import Connect

pytestmark = needs_chromium

SAID = """
const boxes = [...document.querySelectorAll(".away")];
const depends = [...document.querySelectorAll("[data-depends]")];
return boxes.every((box) => !box.hidden && box.textContent !== "")
  && depends.every((part) => part.classList.contains("stale"));
"""
"""The boxes of tabs that are not shown have a sentence, too."""

DIMMED = """
return [...document.querySelectorAll(`section:has(> .away[data-service=${arguments[0]}])`)]
  .every((part) => part.classList.contains("stale"));
"""


async def until_dimmed(browser: Browser, service: str) -> None:
    await browser.until(lambda d: d.execute_script(DIMMED, service))


@pytest.mark.long
async def test_a_stopped_service_is_said_and_its_rows_are_dimmed_at_once_on_all_pages(
    page: Page, browser: Browser, log_in: LogIn, connect: Connect
) -> None:
    page.hive.broker.arrive("alice", "operator", "before")
    await log_in()
    await browser.sees("#agents .state", "running")
    await browser.until_count(".stale", 0)
    for name in SERVICES:
        await page.buses[name].close()
        await browser.sees(f".away[data-service={name}]", "does not answer")
        await until_dimmed(browser, name)
    # The rows stay, and look like the past.
    await browser.sees("#agents tr[data-key=alice]", "alice")
    for path in ("/agents/alice", *(f"/{section}" for section in pages.SECTIONS)):
        await browser.open(page.url + path)
        await browser.until(lambda d: d.execute_script(SAID))
    await browser.open(page.url)
    await browser.sees("#agents .away", "does not answer")
    await page.hive.restart_broker(await connect())
    await browser.until_hidden("#messages .away")
    await browser.until_count("#messages.stale", 0)
    assert await browser.value("document.getElementById('agents').classList.contains('stale')")
