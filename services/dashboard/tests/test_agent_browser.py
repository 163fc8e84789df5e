"""The page of one agent in a real browser."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import Select

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire import names

pytestmark = needs_chromium


async def sees_log(browser: Browser, text: str) -> None:
    await browser.click("#tab-logs")
    await browser.sees("#logs pre", text)


def choose_log(driver: WebDriver, source: str = "inside") -> None:
    Select(driver.find_element(By.ID, "whose-log")).select_by_value(source)


async def test_facts_messages_questions_and_buttons_are_live(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    hive.broker.arrive("manager", "alice", "six times seven?")
    hive.broker.arrive("manager", "bob", "not for alice")
    hive.broker.ask("alice", "operator", "Where to?", "left", "right")
    hive.broker.ask("bob", "manager", "Not of alice")
    await log_in()
    await browser.click("#agents a[href='/agents/alice']")
    await browser.sees("#agent-name", "alice")
    await browser.sees("#agent .state", "running")
    await browser.sees("[data-figure=model]", "claude-test")
    for text in (
        "task limit 4096",
        "2.0 GiB",
        "denied: localhost",
        "0123456789",
        "http://alice.localhost:8123",
    ):
        await browser.sees("#facts", text)
    await browser.sees("#usage", "50.0 MiB (peak 3.0 GiB)")
    await browser.sees("#deploys", "More memory for the tests")
    await browser.sees("#deploys", "deployed/7 by manager")
    await browser.click("#tab-logs")
    await browser.sees("#logs pre", "alice line 149")
    # The journal inside the container is asked of its harness, and away with it.
    await browser.do(choose_log)
    await browser.sees("#logs .error", "The harness of alice is away")
    async with page.harness("alice") as harness:
        harness.log("<b>ran</b>", identifier="cron")
        await browser.click("#logs .refresh")
        await browser.sees("#logs pre", "Z cron: <b>ran</b>")
        await browser.do(lambda d: choose_log(d, "host"))
        await browser.sees("#logs pre", "alice line 149")
    await browser.click("#tab-messages")
    await browser.sees(".flow .body", "six times seven?")
    await browser.sees("#questions", "Where to?")
    shown = await browser.value("document.querySelector('main').innerText")
    assert "not for alice" not in shown
    assert "Not of alice" not in shown

    # Live, as the main page is.
    hive.broker.arrive("alice", "manager", "forty-two")
    await browser.sees(".flow .body", "forty-two")
    await browser.click("#questions form label:first-of-type")
    await browser.click("#questions form [type=submit]")
    await browser.until(lambda _: hive.broker.questions[0].answer == ["left"])
    await browser.sees("#questions p.answer", "operator: left")
    hive.agents["alice"].lines.append("the newest line")
    hive.agents["alice"].become("stopped")
    await browser.sees("#agent .state", "stopped")
    await browser.sees("#usage .empty", "The agent is not running.")
    await browser.click("#tab-logs")
    await browser.sees("#logs pre", "the newest line")
    await browser.click("#tab-messages")
    await browser.click("#agent [data-verb=start]")
    await browser.until(lambda _: hive.agents["alice"].calls == ["start"])
    await browser.type("#write-text", "thank you", Keys.ENTER)
    await browser.sees(".flow .body", "thank you")
    assert (hive.broker.log[-1].sender, hive.broker.log[-1].recipient) == ("operator", "alice")
    usages = hive.agents["alice"].usages
    await browser.click("#usage .refresh")
    await browser.until(lambda _: hive.agents["alice"].usages == usages + 1)
    page.buses["lifecycle"].unexport("/org/hyperhive/Lifecycle1/agent/alice")
    await browser.sees("#agent .gone", "There is no agent alice.")
    assert await browser.violations() == []


@pytest.mark.long
async def test_opening_the_page_wakes_a_sleeping_agent_once(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    bob, alice = page.hive.agents["bob"], page.hive.agents["alice"]
    await log_in()
    bob.become("sleeping")
    await browser.open_live(f"{page.url}/agents/bob")
    await browser.until(lambda _: bob.calls == ["start"])
    for state in ("running", "sleeping", "running"):
        bob.become(state)
        await browser.sees("#agent .state", state)
    alice.become("stopped")
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#agent .state", "stopped")
    await sees_log(browser, "alice line 149")
    assert (bob.calls, alice.calls) == (["start"], [])


@pytest.mark.long
async def test_an_agent_that_is_falling_asleep_is_woken_when_it_sleeps(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    bob, lifecycle, job = page.hive.agents["bob"], page.hive.lifecycle, names.job_path(1)
    await log_in()
    bob.become("running")
    lifecycle.JobNew(1, job, "bob", "sleep")
    await browser.sees("#agents tr[data-key=bob] .state", "falling asleep")
    await browser.open_live(f"{page.url}/agents/bob")
    await browser.sees("#agent .state", "falling asleep")
    bob.become("sleeping")
    await sees_log(browser, "bob line 149")
    assert bob.calls == []
    lifecycle.JobRemoved(1, job, "bob", "sleep", "done", "")
    await browser.until(lambda _: bob.calls == ["start"])


@pytest.mark.long
async def test_hostile_text_is_text_on_the_agents_page(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hostile = '<img src=x onerror="window.harm = 1"><script>window.harm = 2</script> \u202egnp.exe'
    page.hive.broker.arrive("alice", "operator", hostile)
    page.hive.broker.ask("alice", "operator", hostile, hostile[:150])
    page.hive.agents["alice"].lines.append(hostile)
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.click("#tab-logs")
    await browser.sees("#logs pre .hidden-character", "U+202E")
    await browser.sees("#questions .body", "<script>")
    await browser.click("#tab-messages")
    await browser.sees(".flow .body", "<script>")
    assert await browser.value("window.harm") is None
    assert await browser.value("document.querySelectorAll('main img, main script').length") == 0
    assert await browser.violations() == []
    assert await browser.errors() == []


async def test_on_a_phone_the_page_is_as_wide_as_the_screen(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.agents["alice"].lines.append("x" * 2000)
    page.hive.broker.arrive("alice", "operator", "y" * 2000)
    await browser.resize(360, 800)
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await sees_log(browser, "xxx")
    assert await browser.overflow() == 0


@pytest.mark.long
async def test_an_unknown_agent_is_reported(page: Page, browser: Browser, log_in: LogIn) -> None:
    await log_in()
    await browser.open_live(f"{page.url}/agents/zed")
    await browser.sees("#agent .gone", "There is no agent zed.")
    await browser.until_hidden("#facts")


@pytest.mark.long
async def test_a_part_that_cannot_be_fetched_says_why(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await page.buses["approvals"].close()
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("#deploys .error", "Approvals does not answer")
    await sees_log(browser, "alice line 149")


async def test_another_site_cannot_wake_an_agent(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    bob = page.hive.agents["bob"]
    await log_in()
    bob.become("sleeping")
    await browser.open(f"data:text/html,<a id=lure href='{page.url}/agents/bob'>Look</a>")
    await browser.press("#lure")
    await browser.sees("#agent .state", "sleeping")
    await sees_log(browser, "bob line 149")
    assert bob.calls == []
    await browser.open_live(f"{page.url}/agents/bob")
    await browser.until(lambda _: bob.calls == ["start"])


@pytest.mark.long
async def test_tabs_are_reached_with_the_keyboard(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.type("#tab-live", Keys.ARROW_RIGHT)
    await browser.sees("#messages .empty", "No messages yet.")
    await browser.type("#tab-messages", Keys.END)
    await browser.sees("#logs pre", "alice line 149")
    assert await browser.value("document.activeElement.id") == "tab-logs"
    await browser.type("#tab-logs", Keys.ARROW_RIGHT)
    assert await browser.value("document.activeElement.id") == "tab-live"
    named = (
        "[...document.querySelectorAll('main :is(button, textarea, input, [tabindex])')]"
        ".filter((one) => one.checkVisibility() && !one.textContent.trim() && !one.labels?.length"
        " && !one.getAttribute('aria-label') && !one.getAttribute('aria-labelledby')).length"
    )
    assert await browser.value(named) == 0
