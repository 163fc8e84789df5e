"""The login of an agent from its page: addresses, codes, outcomes."""

import logging

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.agent import FakeAgent
from wire.records.lifecycle import TurnState
from wire.text.tests.login_addresses import REFUSED

LOGIN = "/api/agents/alice/login"
BUTTON = "#agent [data-command=login]"
FLOW = "#agent .login-flow"


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    return page


async def test_a_code_logs_the_agent_in(inside: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    alice = inside.hive.agents["alice"]
    assert await inside.post(LOGIN) == (200, {"login": 7, "address": alice.address})
    assert await inside.post(LOGIN) == (200, {"login": 7, "address": alice.address})
    code = {"login": 7, "code": " secret-1#state "}
    assert await inside.post(f"{LOGIN}/code", code) == (200, {"said": "alice is logged in."})
    status, answer = await inside.post(f"{LOGIN}/code", code)
    assert (status, answer["error"]) == (409, "This login is over. Begin a new one.")
    assert alice.commands[-1] == ("login-code", 7, "secret-1#state")
    for body in ({"login": 7}, {"login": 7, "code": "secret-1" * 500}, {"login": -1, "code": "x"}):
        status, answer = await inside.post(f"{LOGIN}/code", body)
        assert (status, "secret-1" in answer["error"]) == (400, False)
    assert await inside.post(f"{LOGIN}/cancel", {"login": 8}) == (
        200,
        {"said": "The login was cancelled."},
    )
    assert (await inside.post("/api/agents/..%2fx/login"))[0] == 404
    assert "secret-1" not in caplog.text


@pytest.mark.parametrize("address", [*REFUSED, "javascript:alert(1)", ""])
async def test_a_container_cannot_send_the_operator_to_its_own_page(
    inside: Page, address: str
) -> None:
    alice = inside.hive.agents["alice"]
    alice.address = address
    status, answer = await inside.post(LOGIN)
    assert (status, "not a login page of Anthropic" in answer["error"]) == (409, True)
    assert "://" not in str(answer)
    # Otherwise the next attempt would go on with this login.
    assert alice.commands == [("login",), ("login-cancel", 7)]


async def test_what_a_container_says_about_a_login_names_no_address(inside: Page) -> None:
    alice = inside.hive.agents["alice"]
    alice.refusal = "Rather log in at https://evil.example/x\u202e"
    for path, body in ((LOGIN, {}), (f"{LOGIN}/code", {"login": 7, "code": "x"})):
        status, answer = await inside.post(path, body)
        assert (status, answer["error"]) == (409, "Rather log in at [address]")


async def test_a_login_needs_a_session(page: Page) -> None:
    for path in ("", "/code", "/cancel"):
        assert (await page.post(LOGIN + path, {"login": 7, "code": "x"}))[0] == 401
    assert page.hive.agents["alice"].commands == []


async def test_a_harness_that_is_away_is_not_lifecycle(inside: Page) -> None:
    """The sentence of lifecycle says why; it is not replaced by one about lifecycle itself."""
    inside.hive.agents["alice"].away = "The harness of alice is not connected."
    status, answer = await inside.post("/api/agents/alice/compact")
    assert (status, answer["error"]) == (503, "The harness of alice is not connected.")


@pytest.fixture
async def alice(page: Page, browser: Browser, log_in: LogIn) -> FakeAgent:
    """Return alice, whose page the browser shows, and who has to be logged in."""
    await log_in()
    alice = page.hive.agents["alice"]
    alice.show(turn_state=TurnState.NEEDS_LOGIN, logged_in=False)
    await browser.open(f"{page.url}/agents/alice")
    await browser.sees("#agent .why", "Log in…")
    await browser.settle()
    return alice


async def begin(browser: Browser) -> None:
    await browser.click(BUTTON)
    await browser.sees(f"{FLOW} form a", "claude.com/cai/oauth/authorize")


async def enter(browser: Browser, code: str) -> None:
    await browser.type("#login-code-alice", code)
    await browser.settle()
    await browser.type("#login-code-alice", Keys.ENTER)


@needs_chromium
async def test_the_operator_logs_an_agent_in_on_its_page(
    browser: Browser, alice: FakeAgent
) -> None:
    assert await browser.value(f"document.querySelector('{BUTTON}').className") == "primary"
    await begin(browser)
    link = "document.querySelector('.login-flow a')"
    assert await browser.value(f"{link}.href") == alice.address
    assert await browser.value(f"{link}.rel") == "noopener noreferrer"
    await enter(browser, "secret-1#state")
    await browser.sees(f"{FLOW} .login-status", "alice is logged in.")
    await browser.until_hidden(f"{FLOW} form")
    assert alice.commands == [("login",), ("login-code", 7, "secret-1#state")]
    kept = "document.documentElement.outerHTML + JSON.stringify({...sessionStorage})"
    assert "secret-1" not in await browser.value(f"{kept} + document.querySelector('input').value")
    assert await browser.violations() == []


@needs_chromium
@pytest.mark.long
async def test_the_operator_logs_an_agent_in_where_it_waits(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """The card stays while its harness tries the model again, and a code that was typed with it."""
    alice, card = page.hive.agents["alice"], "#trouble [data-key=alice]"
    alice.show(turn_state=TurnState.NEEDS_LOGIN, logged_in=False)
    await log_in()
    await browser.click(f"{card} .buttons button")
    await browser.sees(f"{card} .login-flow a", "claude.com/cai/oauth/authorize")
    await browser.type("#login-code-alice", "secret-1")
    alice.show(turn_state=TurnState.THINKING, turn_since=7)
    await browser.sees("tr[data-key=alice] .state", "thinking")
    alice.show(turn_state=TurnState.NEEDS_LOGIN, turn_since=8)
    await browser.sees("tr[data-key=alice] .state", "needs login")
    await enter(browser, "#state")
    await browser.sees(".told", "alice is logged in.")
    assert alice.commands == [("login",), ("login-code", 7, "secret-1#state")]
    alice.show(turn_state=TurnState.IDLE, logged_in=True)
    await browser.until_hidden("#trouble")
    # An API key is replaced on the hive's host.
    alice.show(turn_state=TurnState.NEEDS_LOGIN, logged_in=False, credential="key")
    await browser.sees(f"{card} .buttons", "Open agent")
    await browser.until_count(f"{card} .login-flow", 0)
    assert await browser.violations() == []


@needs_chromium
@pytest.mark.long
async def test_a_login_that_fails_or_is_cancelled_can_begin_again(
    browser: Browser, alice: FakeAgent
) -> None:
    await begin(browser)
    alice.login += 1  # another tab has ended this login, and begun the next
    await enter(browser, "code")
    await browser.sees(f"{FLOW} .error", "This login is over. Begin a new one.")
    await browser.until_hidden(f"{FLOW} form")
    await begin(browser)
    await browser.until_hidden(f"{FLOW} .error")
    await browser.settle()
    await browser.click(f"{FLOW} [type=button]")
    await browser.until_hidden(FLOW)
    await browser.until(lambda _: alice.commands[-1] == ("login-cancel", 8))
    alice.address = "https://evil.example/oauth/authorize"
    await browser.click(BUTTON)
    await browser.sees(f"{FLOW} .error", "not a login page of Anthropic")
    await browser.until_hidden(f"{FLOW} form")
    assert await browser.violations() == []


@needs_chromium
@pytest.mark.long
async def test_a_login_of_another_tab_ends_the_form_of_this_one(
    browser: Browser, alice: FakeAgent
) -> None:
    await begin(browser)
    alice.show(turn_state=TurnState.IDLE, logged_in=True)
    await browser.sees(f"{FLOW} .login-status", "alice is logged in.")
    await browser.until_hidden(f"{FLOW} form")
    alice.show(turn_state=TurnState.HARNESS_AWAY)
    await browser.until(lambda d: not d.find_element(By.CSS_SELECTOR, BUTTON).is_enabled())
