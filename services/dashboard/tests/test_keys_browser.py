"""The keyboard, the palette of commands and the themes, in a real browser."""

from collections.abc import Callable

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page

pytestmark = needs_chromium

FOCUS = "document.activeElement.id || document.activeElement.className"
GROUND = "getComputedStyle(document.body).backgroundColor"
CTRL_K = Keys.CONTROL + "k" + Keys.CONTROL


async def keys(browser: Browser, *pressed: str) -> None:
    """Press keys, wherever the focus is."""
    await browser.do(lambda d: ActionChains(d).send_keys(*pressed).perform())


async def chord(browser: Browser, key: str) -> None:
    await browser.do(
        lambda d: (
            ActionChains(d).key_down(Keys.CONTROL).send_keys(key).key_up(Keys.CONTROL).perform()
        )
    )


@pytest.mark.long
async def test_shortcuts_lead_to_the_box_to_sections_and_to_their_list(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await keys(browser, "?")
    await browser.sees("dialog.keys", "Go to Cost")
    await browser.sees("dialog.keys", "Ctrl+K")
    await keys(browser, "g", "c")  # not while the list is open
    await keys(browser, Keys.ESCAPE)
    await browser.until_count("dialog", 0)
    await keys(browser, "/")
    assert await browser.value(FOCUS) == "compose-text"
    await keys(browser, "g", "c", "?")  # letters of the message
    await browser.until_count("dialog", 0)
    assert await browser.value("document.getElementById('compose-text').value") == "gc?"
    await browser.value("document.activeElement.blur()")
    await keys(browser, "g", "x", "g", "c")
    await browser.sees("#sums-title", "Cost")
    assert (
        await browser.value("document.querySelector('[aria-current=page]').textContent") == "Cost"
    )


@pytest.mark.long
async def test_the_palette_finds_agents_and_acts(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await chord(browser, "k")
    assert await browser.value("document.activeElement.getAttribute('role')") == "combobox"
    await keys(browser, "start b")
    await browser.sees(".palette-list", "Start bob")
    await browser.until_count(".palette-list li", 1)
    await keys(browser, Keys.ENTER)
    await browser.until_count("dialog", 0)
    assert page.hive.agents["bob"].calls == ["start"]
    # The page asks before something may be lost, as in the menu of the agent.
    await chord(browser, "k")
    await keys(browser, "stop manager", Keys.ENTER)
    await browser.sees("dialog.ask", "Without the manager, nobody leads")
    await keys(browser, Keys.ESCAPE)
    await browser.until_count("dialog", 0)
    assert page.hive.agents["manager"].calls == []
    await browser.click("#find")
    await keys(browser, "nothing like this")
    await browser.sees("dialog", "Nothing found.")
    await keys(browser, Keys.BACKSPACE * 20, "ali", Keys.ENTER)
    await browser.sees("#agent-name", "alice")


@pytest.mark.long
async def test_themes_are_kept_and_the_flavour_is_a_look_only(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.approvals.ask("carol", "A new agent")
    page.hive.broker.arrive("alice", "operator", "hello")
    await log_in()
    await chord(browser, "k")
    await keys(browser, "light", Keys.ENTER)
    await browser.until(lambda d: d.execute_script(f"return {GROUND}") == "rgb(230, 233, 239)")
    await chord(browser, "k")
    await keys(browser, "flavour", Keys.ENTER)
    approve = ".pending button.primary"
    shown = f"getComputedStyle(document.querySelector('{approve}'), '::before').content"
    await browser.until(lambda d: "◆ APPR0VE" in d.execute_script(f"return {shown}"))
    every = "[...document.querySelectorAll('[data-leet-shown]')]"
    sizes = f"{every}.map((one) => getComputedStyle(one).fontSize)"
    await browser.until_count(".message header [data-verb=read][data-leet-shown]", 1)
    assert set(await browser.value(sizes)) == {"0px"}, "the text shows beside the look"
    await browser.open_live(f"{page.url}/cost")
    assert await browser.value(GROUND) == "rgb(230, 233, 239)"
    await browser.until_count("h2[data-leet-shown='C0ST']", 1)
    # The accessible name, as a screen reader gets it.
    names = await browser.do(
        lambda d: d.find_element("css selector", "#sums-title").accessible_name
    )
    assert names == "Cost"
    assert await browser.violations() == []


@pytest.mark.long
async def test_a_phone_has_the_sections_in_a_menu(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.resize(360, 740)
    await browser.until_hidden("#sections")
    await browser.click("#menu")
    await browser.sees("#sections", "Network")
    await browser.click("#sections a[href='/network']")
    await browser.sees("#hosts-title", "Connections")


async def tab_to(browser: Browser, css: str) -> None:
    """Press Tab until an element that fits has the focus."""
    for _ in range(60):
        await keys(browser, Keys.TAB)
        if await browser.value(f"document.activeElement.matches({css!r})"):
            return
    raise AssertionError(f"Tab does not lead to {css}")


async def enter_until(browser: Browser, holds: Callable[[WebDriver], object]) -> None:
    """Press Enter until it counts: a control that has just moved takes no press."""

    def pressed(d: WebDriver) -> object:
        if not d.find_elements("css selector", "[data-moved]") and not holds(d):
            ActionChains(d).send_keys(Keys.ENTER).perform()
        return holds(d)

    await browser.until(pressed)


@pytest.mark.long
async def test_what_waits_is_done_with_the_keyboard_alone(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.approvals.ask("carol", "A new agent")
    page.hive.broker.ask("alice", "operator", "What is the name of the release?")
    await log_in()
    await browser.settle()
    await keys(browser, "w")
    await tab_to(browser, ".pending button.primary")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await browser.value(outline) == "solid"
    await enter_until(browser, lambda _: page.hive.approvals.calls)
    await browser.settle()
    await keys(browser, "w")
    await tab_to(browser, ".asked :is(textarea, input[type=text])")
    await keys(browser, "Hyperion")
    await tab_to(browser, ".asked button.primary")
    await enter_until(browser, lambda _: page.hive.broker.questions[0].answer == ["Hyperion"])
    await keys(browser, "/", "@bob hello", Keys.ENTER)
    await browser.until(lambda _: page.hive.broker.log)
    assert (page.hive.broker.log[0].recipient, page.hive.broker.log[0].body) == ("bob", "hello")
