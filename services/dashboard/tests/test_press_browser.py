"""Presses in a real browser, on controls that have just come under the pointer.

The page's clock stands still where a press must be too early, so no machine is too slow for it.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.approvals import FakeApprovals
from services.dashboard.tests.fakes.hive import FakeHive
from wire import names
from wire.records.broker import MessageState

pytestmark = needs_chromium

SETTLE_MS = 800
FIRST, SECOND = ".pending [data-key='1'] .primary", ".pending [data-key='2'] .primary"
HINT = (By.CSS_SELECTOR, ".too-early")


async def refused(browser: Browser, acted: Callable[[], object]) -> None:
    """Wait until the page says that a press came too early; it must not have acted."""

    def over(d: WebDriver) -> bool:
        return bool(acted()) or any(e.is_displayed() for e in d.find_elements(*HINT))

    await browser.until(over)
    assert not acted()


@pytest.fixture
async def asked(page: Page, browser: Browser, log_in: LogIn) -> FakeApprovals:
    """Show a request that has just come, while the page's clock stands still."""
    await log_in()
    await browser.freeze()
    page.hive.approvals.ask("alice", "more", "apply")
    await browser.sees(FIRST, "Approve")
    return page.hive.approvals


async def thaw(browser: Browser, approvals: FakeApprovals) -> None:
    """Let the clock run after two presses that came too early."""
    assert await browser.value("window.given - window.taken") == 2
    assert approvals.calls == []
    await browser.thaw()


async def approved(browser: Browser, approvals: FakeApprovals, number: int) -> None:
    await browser.sees(".working", "approved")
    assert approvals.calls == [("approve", number)]


@pytest.mark.long
async def test_the_next_request_takes_the_place_of_the_one_under_the_mouse(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.ask("alice", "harmless", "apply")
    await log_in()
    await browser.sees(FIRST, "Approve")
    await browser.point_at(FIRST)
    await browser.freeze()
    approvals.settle(1, "superseded", "Request 2 replaced it.")
    approvals.ask("alice", "harmful", "apply")
    await browser.sees(".pending .reason", "harmful")
    assert await browser.under_mouse() == "2"
    await browser.mouse(lambda on: on.click())
    await refused(browser, lambda: approvals.calls)
    # A button that is held down was pressed when it was pressed.
    await browser.mouse(lambda on: on.click_and_hold())
    await browser.thaw()
    await browser.mouse(lambda on: on.release())
    assert await browser.value("window.given - window.taken") == 2
    assert approvals.calls == []
    await browser.click(SECOND)
    await approved(browser, approvals, 2)


@pytest.mark.long
async def test_a_control_acts_after_a_moment_and_not_before(
    browser: Browser, asked: FakeApprovals
) -> None:
    # The page has painted the card: from then on it counts.
    await browser.do(
        lambda d: d.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => setTimeout(done))"
        )
    )
    for more in (0, SETTLE_MS - 1):
        await browser.advance(more)
        await browser.press(FIRST)
        await refused(browser, lambda: asked.calls)
    await thaw(browser, asked)
    await browser.click(FIRST)
    await approved(browser, asked, 1)


@pytest.mark.long
async def test_a_key_does_not_reach_what_has_just_come(
    browser: Browser, asked: FakeApprovals
) -> None:
    for key in (Keys.ENTER, Keys.SPACE):
        await browser.type(FIRST, key)
        await refused(browser, lambda: asked.calls)
    await thaw(browser, asked)
    await browser.type(FIRST, Keys.ENTER)
    await approved(browser, asked, 1)


class Shift(NamedTuple):
    """Something that moves a control under the mouse."""

    path: str
    control: str
    shift: Callable[[FakeHive], object]
    done: Callable[[FakeHive], object]
    """Whether the control has acted."""


SHIFTS = {
    "a notice above what waits": Shift(
        "/",
        FIRST,
        lambda hive: hive.lifecycle.JobRemoved(
            9, names.job_path(9), "bob", "deploy", "failed", "No."
        ),
        lambda hive: hive.approvals.calls == [("approve", 1)],
    ),
    "a question before another": Shift(
        "/",
        ".asked [data-key='2'] [value='0']",
        lambda hive: hive.broker.cancel(1),
        lambda hive: hive.broker.questions[1].answer == ["yes"],
    ),
    "an agent before another": Shift(
        "/",
        "#trouble [data-key=bob] [data-verb=start]",
        lambda hive: hive.agents["alice"].become("failed"),
        lambda hive: hive.agents["bob"].calls == ["start"],
    ),
    "a dead letter before another": Shift(
        "/",
        ".flow [data-key='2'] [data-verb=drop]",
        lambda hive: hive.broker.move(1, MessageState.QUEUED, 0),
        lambda hive: hive.broker.log[1].state == "dropped",
    ),
    "a question on the agent's page": Shift(
        "/agents/alice",
        ".asked [data-key='1'] [value='0']",
        lambda hive: hive.broker.ask("alice", "operator", "And then?"),
        lambda hive: hive.broker.questions[0].answer == ["yes"],
    ),
    "a notice above all": Shift(
        "/agents/alice",
        "#agent [data-verb=stop]",
        lambda hive: hive.lifecycle.JobRemoved(
            9, names.job_path(9), "bob", "deploy", "failed", "No."
        ),
        lambda hive: hive.agents["alice"].calls == ["stop"],
    ),
}


ALSO = ("an agent before another", "a dead letter before another", "a notice above all")
"""The shifts that are tried with the long tests: others try the same lists and pages."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name in ALSO else name for name in SHIFTS],
)
@pytest.mark.long
async def test_a_control_that_has_just_moved_does_not_act(
    page: Page, browser: Browser, log_in: LogIn, name: str
) -> None:
    hive, (path, control, shift, done) = page.hive, SHIFTS[name]
    hive.approvals.ask("alice", "more", "apply")
    hive.agents["bob"].become("failed")
    for asker in ("alice", "bob"):
        hive.broker.ask(asker, "operator", "Go on?", "yes", "no", permission=asker)
        hive.broker.park(hive.broker.add(asker, "manager", "lost"))
    # On a page that is scrolled, the end of one card may leave the next one in its place.
    await browser.resize(1280, 2000)
    await log_in()
    if path != "/":
        await browser.open_live(page.url + path)
    elif "drop" in control:
        await browser.click("#waiting-dead")
        await browser.until_count(".flow li", 2)
    shown = f'document.querySelector("{control}")'
    await browser.do(lambda d: d.execute_script(f"{shown}.scrollIntoView({{ block: 'center' }})"))
    await browser.settle()
    place = f"{shown}.getBoundingClientRect().y"
    before = await browser.value(place)
    await browser.freeze()
    shift(hive)
    await browser.until(lambda d: d.execute_script(f"return {place}") != before)
    await browser.press(control)
    await refused(browser, lambda: done(hive))
    await browser.thaw()
    await browser.click(control)
    await browser.until(lambda _: done(hive))


LOOKS = """
const done = arguments[0];
const card = document.querySelector(".pending > li");
let looks = 0;
card.getBoundingClientRect = () => {
  looks += 1;
  return Element.prototype.getBoundingClientRect.call(card);
};
(async () => {
  for (let change = 0; change < 50; change += 1) {
    card.dataset.change = change;
    await null;
  }
  requestAnimationFrame(() => setTimeout(() => done(looks)));
})();
"""


@pytest.mark.long
async def test_many_changes_cost_one_look_a_frame(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """To look means to lay out the page again."""
    page.hive.approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.sees(FIRST, "Approve")
    await browser.settle()
    assert 1 <= await browser.do(lambda d: d.execute_async_script(LOOKS)) <= 5


@pytest.mark.long
async def test_a_card_is_about_the_commit_that_it_shows(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """A store that is put back may give a number to another request."""
    approvals = page.hive.approvals
    approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.sees(".pending summary", "Changes (000000000000)")
    [shown] = approvals.log
    approvals.log = [shown._replace(commit="c" * 40)]
    await browser.click(FIRST)
    await browser.sees("#approvals .error", "is about another commit")
    approvals.ApprovalAdded("alice", 1, "apply")
    await browser.sees(".pending summary", "Changes (cccccccccccc)")
    await browser.click(FIRST)
    await browser.sees(".working", "approved")


async def test_a_change_is_approved_against_the_base_that_was_shown(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    approvals = page.hive.approvals
    approvals.ask("alice", "back", "revert")
    await log_in()
    await browser.click(".pending summary")
    await browser.sees(".diff .added", "a new line")
    approvals.base, approvals.diff = "c" * 40, "+another line\n"
    await browser.click(FIRST)
    await browser.sees("#approvals .error", f"shown against {'b' * 40}")
    # The page shows the change as it is now.
    await browser.sees(".diff .added", "another line")
    await browser.click(FIRST)
    await browser.sees(".working", "approved")


@pytest.mark.long
async def test_a_window_that_comes_to_the_front_takes_no_press_at_once(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """A page in front of it can close between the two presses of a double click."""
    approvals = page.hive.approvals
    approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.sees(FIRST, "Approve")
    await browser.settle()
    for event in (
        'window.dispatchEvent(new Event("focus"))',
        'document.dispatchEvent(new Event("visibilitychange"))',
    ):
        await browser.freeze()
        await browser.value(event)
        await browser.press(FIRST)
        await refused(browser, lambda: approvals.calls)
        await browser.thaw()
    await browser.click(FIRST)
    await browser.until(lambda _: approvals.calls == [("approve", 1)])


@pytest.mark.long
async def test_an_agent_cannot_keep_controls_from_acting(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """Questions that come and go all the time move everything below them."""
    hive = page.hive
    hive.approvals.ask("alice", "more", "apply")
    await log_in()
    await browser.sees(FIRST, "Approve")

    async def ask_and_cancel() -> None:
        while True:
            hive.broker.cancel(hive.broker.ask("alice", "operator", "And now?"))
            await hive.broker.listed()
            number = hive.broker.ask("alice", "operator", "And now?")
            await hive.broker.listed()
            hive.broker.cancel(number)

    flood = asyncio.create_task(ask_and_cancel())
    try:
        await browser.until(lambda _: len(hive.broker.questions) > 20)
        await browser.click(FIRST)
        await browser.until(lambda _: hive.approvals.calls == [("approve", 1)])
    finally:
        flood.cancel()


async def test_an_asker_does_not_fill_the_list_of_questions(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    for _ in range(30):
        page.hive.broker.ask("alice", "operator", "And now?")
    page.hive.broker.ask("bob", "operator", "May I?", "yes", "no")
    await log_in()
    await browser.sees("#waiting-questions", "31 questions")
    await browser.until_count(".asked > li", 6)
    await browser.sees(".asked [data-key='31']", "May I?")
    await browser.sees("#questions .more", "25 of alice")
