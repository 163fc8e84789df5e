"""The pages of costs, connections and logs, in a real browser."""

import aiohttp
import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.busy import fill
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.now import NOW
from wire.records.ledger import ProviderLimit

pytestmark = needs_chromium


async def choose(browser: Browser, css: str) -> None:
    """Choose an option."""
    await browser.do(lambda d: d.find_element("css selector", css).click())


@pytest.mark.long
async def test_the_page_of_costs(page: Page, browser: Browser, log_in: LogIn) -> None:
    fill(page.hive, page.buses["lifecycle"])
    await log_in()
    await browser.open_live(f"{page.url}/cost")
    await browser.until_count(".plot canvas", 3)
    await browser.sees("#by-model", "claude-opus-4-5-20251101")
    await browser.sees("#by-model", "not named")
    await browser.sees("#budgets", "$87.00 of $100.00 today")
    await browser.sees("#limits", "limited until")
    await browser.unfold(".plot summary")
    await browser.sees(".plot details", "agent7")
    await browser.until_count("#requests tbody tr", 50)
    await browser.click("#requests .older")
    await browser.until_count("#requests tbody tr", 60)
    # On a phone, no table is wider than the screen.
    wide = "[...document.querySelectorAll('.folding')].map((b) => b.scrollWidth > b.clientWidth)"
    await browser.resize(360, 740)
    assert await browser.value(wide) == [False] * 5
    await browser.resize(1280, 800)
    # Live: a limit that ends, and what an agent spends.
    page.hive.ledger.limit(ProviderLimit("default", updated=NOW))
    await browser.sees("#limits", "not limited")
    page.hive.ledger.settle("alice", "claude-test", cost=2_500_000)
    await browser.sees("#sums .totals", "$3.70")  # with the turn that is recorded
    # The filters are those that the ledger is asked for.
    page.hive.ledger.asked.clear()
    await choose(browser, "[name=agent] [value=alice]")
    await browser.until(lambda _: page.hive.ledger.asked)
    assert {wanted.agent for wanted in page.hive.ledger.asked[:4]} == {"alice"}
    assert await browser.violations() == []
    assert await browser.errors() == []


@pytest.mark.long
async def test_without_the_library_the_figures_are_shown(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    fill(page.hive, page.buses["lifecycle"])
    await log_in()
    command = {"cmd": "Network.setBlockedURLs", "params": {"urls": ["*/uplot.js"]}}
    await browser.do(
        lambda d: d.execute("executeCdpCommand", {"cmd": "Network.enable", "params": {}})
    )
    await browser.do(lambda d: d.execute("executeCdpCommand", command))
    try:
        await browser.open_live(f"{page.url}/cost")
        await browser.until_count(".plot details[open]", 3)
        await browser.sees(".plot details", "agent7")
    finally:
        none = {"cmd": "Network.setBlockedURLs", "params": {"urls": []}}
        await browser.do(lambda d: d.execute("executeCdpCommand", none))


@pytest.mark.long
async def test_the_page_of_connections(page: Page, browser: Browser, log_in: LogIn) -> None:
    fill(page.hive, page.buses["lifecycle"])
    await log_in()
    await browser.open_live(f"{page.url}/network")
    await browser.until_count("#hosts tbody tr", 12)
    await browser.sees("#hosts .totals", "12")
    await browser.type("[name=host]", "github")
    await browser.until_count("#hosts tbody tr", 3)
    # Live: a host that is refused comes by itself, and its answer is given here.
    page.hive.ledger.refuse("alice", "new.github.example", reason="for the tests")
    await browser.until_count("#hosts tbody tr", 4)
    await browser.sees("#refused", "new.github.example")
    await browser.click("[aria-label='Deny: new.github.example:443 for alice']")
    await browser.until(lambda _: page.hive.ledger.decided)
    await browser.until_count("#hosts tr[data-state=denied]", 1)
    await choose(browser, "[value=denied]")
    await browser.until_count("#hosts tbody tr", 1)


@pytest.mark.long
async def test_the_page_of_logs_follows_and_goes_back(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    log = page.hive.lifecycle
    for number in range(250):
        log.write(f"line {number}", priority=3 if number % 50 == 0 else 6)
    await log_in()
    await browser.open_live(f"{page.url}/logs")
    await browser.until_count(".log-lines li", 200)
    await browser.sees(".log-lines", "line 249")
    log.write("<b>come</b> \u202egnp")
    await browser.sees(".log-lines", "<b>come</b> U+202Egnp")
    await browser.click(".older")
    await browser.until_count(".log-lines li", 251)
    # Below what is read, lines come with a count.
    await browser.value("document.getElementById('lines').scrollTo(0, 0)")
    log.write("below")
    await browser.sees(".newer", "1 new line")
    await browser.click(".newer")
    await browser.until_hidden(".newer")
    # At a level and with a text, also for what comes.
    await choose(browser, "[name=priority] [value='3']")
    await browser.until_count(".log-lines li", 5)
    await choose(browser, "[name=priority] [value='']")
    await browser.type("[name=text]", "needle")
    await browser.sees(".logs .empty", "No line matches.")
    log.write("hay")
    log.write("a Needle")
    await browser.until_count(".log-lines li", 1)
    assert await browser.value("location.search") == "?text=needle"
    # An agent of whom the address speaks.
    await browser.open_live(f"{page.url}/logs?agent=alice&unit=hive-agent%40alice.service")
    await browser.until(lambda _: log.wanted[-1].unit == "hive-agent@alice.service")
    assert log.wanted[-1].agent == "alice"
    assert await browser.violations() == []


@pytest.mark.long
async def test_the_journal_inside_a_container_is_shown_and_followed(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    page.hive.agents["alice"].become("stopped")
    await log_in()
    page.hive.lifecycle.write("of the host")
    await browser.open_live(f"{page.url}/logs?agent=alice")
    await browser.sees(".log-lines", "of the host")
    await choose(browser, "[name=unit] [value=inside]")
    await browser.sees(".logs > section > .error", "harness of alice is away")
    await browser.until_count(".log-lines li", 0)  # no lines of another source
    async with page.harness("alice") as harness:
        harness.log("Reached target hive-container.target", unit="init.scope", pid=1)
        harness.log("forged \u202egnp", priority=2, cursor="s=1;i=2")
        page.hive.agents["alice"].become("running")  # the page tries again
        await browser.until_count(".log-lines li", 2)
        await browser.sees(".log-lines [data-level=error]", "forged U+202Egnp")
        harness.log("comes later")
        await browser.sees(".log-lines", "comes later")
        harness.log("is no line", cursor="../../x")
        harness.log("the last")
        await browser.sees(".log-lines", "the last")
        await browser.until_count(".log-lines li", 4)


async def test_the_stream_of_lines_ends_with_the_session(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await page.log_in()
    async with page.http.get(f"{page.url}/api/logs/stream") as stream:
        assert (stream.status, stream.headers["X-Accel-Buffering"]) == (200, "no")
        await page.post("/logout")
        with pytest.raises(aiohttp.ClientPayloadError):  # it ends, and waits for no line
            await stream.content.read()
