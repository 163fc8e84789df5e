"""Budgets and refused hosts in a real browser: bars, and three answers."""

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, BudgetState, EgressState
from wire.records.lifecycle import TurnState

pytestmark = needs_chromium

CARD = "#refused [data-key='alice {} 443']"
ALICE = Budget(BudgetKind.AGENT, "alice", BudgetPeriod.DAY, limit=5_000_000, spent=1_250_000)
TOKENS = Budget(
    *(BudgetKind.AGENT, "alice", BudgetPeriod.WEEK),
    limit_tokens=2_000_000,
    spent_tokens=1_900_000,
    state=BudgetState.WARNED,
)
HIVE = Budget(BudgetKind.HIVE, "hive", BudgetPeriod.TOTAL, limit=10_000_000, spent=2_000_000)


@pytest.mark.long
async def test_budgets_are_bars_that_grow(page: Page, browser: Browser, log_in: LogIn) -> None:
    ledger = page.hive.ledger
    for budget in (ALICE, HIVE, HIVE._replace(period=BudgetPeriod.DAY)):
        ledger.spend(budget)
    await log_in()
    await browser.sees(
        "#agents .budgets", "The hive\n$2.00 of $10.00 today\n$2.00 of $10.00 in total"
    )
    await browser.sees("tr[data-key=alice] .budget", "25 % today")
    assert await browser.value("document.querySelector('tr[data-key=bob] .budget').hidden")
    amount = "document.querySelector('tr[data-key=alice] .amount')"
    assert await browser.value(f"{amount}.title") == "$1.25 of $5.00 today"
    meter = "document.querySelector('tr[data-key=alice] meter').value"
    assert await browser.value(meter) == 1_250_000
    # The one of which more is spent is shown.
    ledger.spend(TOKENS)
    await browser.sees("tr[data-key=alice] .budget", "95 % this week")
    until = 4_000_000_000_000_000
    gone = ALICE._replace(
        spent=5_000_001, state=BudgetState.EXHAUSTED, until=until, unknown_price=True
    )
    ledger.spend(gone)
    await browser.sees("tr[data-key=alice] .budget", "used up today")
    assert await browser.value(f"{amount}.title") == "$5.00? of $5.00 today"
    ledger.spend(HIVE._replace(spent=10_000_000, state=BudgetState.EXHAUSTED, until=until))
    await browser.sees("#agents .budgets", "used up until")
    alice = page.hive.agents["alice"]
    alice.show(turn_state=TurnState.HELD, turn_reason="the budget of alice is used up")
    await browser.sees("tr[data-key=alice] .doing", "the budget of alice is used up")
    await browser.sees("tr[data-key=alice] .chip", "held")
    alice.show(turn_state=TurnState.IDLE, turn_reason="")
    await browser.until_count("tr[data-key=alice] .chip", 0)
    ledger.spend(gone._replace(limit=0))
    ledger.spend(TOKENS._replace(limit_tokens=0))
    await browser.until(lambda d: d.execute_script(f"return {meter[:-6]}?.offsetParent === null"))
    assert await browser.violations() == []


@pytest.mark.long
async def test_a_refused_host_has_three_answers(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    for host in ("github.com", "pypi.org", "example.org"):
        hive.ledger.refuse("alice", host)
    hive.ledger.refuse("alice", "github.com", reason="to <b>clone</b> the tool")
    hive.ledger.refuse("bob", "done.example", state=EgressState.DENIED)
    await log_in()
    await browser.sees("#waiting-refused", "3 refused hosts")
    await browser.sees(CARD.format("github.com"), "to <b>clone</b> the tool")
    await browser.sees(CARD.format("github.com"), "refused 2 times")
    await browser.sees(CARD.format("github.com"), "adds github.com:443 to egress of alice")
    await browser.until_count(f"{CARD.format('github.com')} .leads:not([hidden])", 0)
    hive.ledger.refuse("alice", "127.0.0.1", reason="my own dev server")
    await browser.sees(CARD.format("127.0.0.1"), "127.0.0.1:443 is this host itself, not the")
    hive.ledger.refuse("alice", "127.0.0.1", state=EgressState.DENIED)
    await browser.until_count(CARD.format("127.0.0.1"), 0)
    await browser.click(f"{CARD.format('pypi.org')} [data-answer=once]")
    await browser.until_count(CARD.format("pypi.org"), 0)
    await browser.click(f"{CARD.format('example.org')} [data-answer=deny]")
    await browser.until_count(CARD.format("example.org"), 0)
    assert hive.ledger.decided == [
        ("alice", "pypi.org", 443, "once"),
        ("alice", "example.org", 443, "deny"),
    ]
    await browser.click(f"{CARD.format('github.com')} [data-answer=always]")
    await browser.sees(CARD.format("github.com"), "Request 8 allows it, and is deployed now.")
    assert hive.approvals.allowed == [
        ("alice", "github.com:443", "The operator always allows github.com:443.")
    ]
    hive.ledger.refuse("alice", "github.com", state=EgressState.ALLOWED)
    await browser.until_hidden("#refused")
    await browser.until_hidden("#waiting-refused")
    await browser.sees("#waiting", "Nothing waits for you.")
    assert await browser.violations() == []


@pytest.mark.long
async def test_one_agent_does_not_fill_the_list(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    for number in range(7):
        page.hive.ledger.refuse("alice", f"{number}.example")
    page.hive.ledger.refuse("bob", "github.com")
    await log_in()
    await browser.sees("#refused .more", "of alice")
    await browser.until_count("#refused li", 6)
    await browser.sees("#waiting-refused", "8 refused hosts")
    await browser.click(f"{CARD.format('0.example')} [data-answer=deny]")
    await browser.sees("#refused", "5.example")


@pytest.mark.long
async def test_an_answer_that_fails_says_why(page: Page, browser: Browser, log_in: LogIn) -> None:
    page.hive.ledger.refuse("alice", "refused.example")
    await log_in()
    await browser.click("#refused [data-answer=always]")
    await browser.sees("#refused .error", "already allows refused.example")
    await browser.click("#refused [data-answer=once]")
    await browser.until_count("#refused li", 0)


@pytest.mark.long
async def test_the_page_of_an_agent_shows_its_budgets_and_its_hosts(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    hive.ledger.spend(ALICE)
    hive.ledger.refuse("bob", "not.alices")
    hive.ledger.refuse("alice", "fd00::1", 8080)
    hive.ledger.refuse("alice", "pypi.org", state=EgressState.NONE, allowed=3, received=2**20)
    hive.ledger.refuse("alice", "*", 0, state=EgressState.NONE)
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.sees("[data-figure=budget]", "$1.25 of $5.00 today")
    await browser.sees("#refused", "[fd00::1]:8080")
    await browser.click("#tab-egress")
    await browser.sees("#egress tbody", "pypi.org:443")
    await browser.sees("#egress tbody", "1.0 MiB")
    await browser.sees("#egress tbody", "other hosts")
    await browser.click("#refused [data-answer=deny]")
    await browser.until_hidden("#refused")
    await browser.sees("#egress tbody", "denied")
    assert "not.alices" not in await browser.value("document.body.innerText")
    asked = hive.broker.ask(
        "system", "operator", "Is more to be spent?", "raise it", "keep it held"
    )
    hive.broker.ask("system", "operator", "About something else?", "yes", "no")
    hive.ledger.spend(
        ALICE._replace(
            kind=BudgetKind.CREDENTIAL,
            name="agent:bob",
            spent=5_000_000,
            state=BudgetState.EXHAUSTED,
        )
    )
    used_up = ALICE._replace(spent=5_000_000, state=BudgetState.EXHAUSTED, question=asked)
    hive.ledger.spend(used_up)
    await browser.sees("#questions", "Is more to be spent?")
    assert "something else" not in await browser.value("document.body.innerText")
    hive.agents["alice"].show(turn_state=TurnState.HELD, turn_reason="Its budget is used up.")
    await browser.sees("#agent .why", "hivectl budget alice --day DOLLARS")
    hive.ledger.spend(ALICE)
    hive.ledger.spend(TOKENS._replace(spent_tokens=2_000_000, state=BudgetState.EXHAUSTED))
    await browser.sees("#agent .why", "hivectl budget alice --week-tokens NUMBER")
    assert await browser.violations() == []


@pytest.mark.parametrize("where", ["", pytest.param("/agents/alice", marks=pytest.mark.long)])
@pytest.mark.long
async def test_on_a_phone_the_page_is_as_wide_as_the_screen(
    page: Page, browser: Browser, log_in: LogIn, where: str
) -> None:
    for budget in (ALICE, TOKENS, HIVE):
        page.hive.ledger.spend(budget)
    page.hive.ledger.refuse("alice", f"{'x' * 63}.{'y' * 63}.{'z' * 60}.org", reason="r" * 400)
    await log_in()
    await browser.resize(360, 740)
    await browser.open(f"{page.url}{where}")
    await browser.sees("#refused", "was refused")
    assert await browser.overflow() == 0
    await browser.resize(1280, 800)
    assert await browser.overflow() == 0
