"""The overview in a real browser: what waits, the rows of agents, their menus, and the notices."""

import time

import pytest
from selenium.webdriver.common.keys import Keys

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fakes.lifecycle import FakeJob
from wire import names
from wire.records.broker import MessageState
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod
from wire.records.lifecycle import (
    CRASHES_IN_A_ROW_US,
    AgentState,
    Network,
    TurnState,
    Usage,
)

pytestmark = needs_chromium

ROWS = "[...document.querySelectorAll('.agents tbody tr')].map((row) => row.dataset.key)"
ICON = "document.querySelector('link[rel=icon]').getAttribute('href')"


async def test_what_waits_is_at_the_top_with_its_action(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    await log_in()
    await browser.sees("#waiting", "Nothing waits for you.")
    assert await browser.value("document.title") == "Hyperhive"
    hive.agents["bob"].become("failed")
    hive.agents["alice"].show(turn_state=TurnState.HELD, turn_reason="sent too <b>much</b>")
    hive.agents["manager"].show(turn_state=TurnState.NEEDS_LOGIN)
    letter = hive.broker.arrive(
        "alice", "bob", "**lost** in `make`\n\n- at [night](https://x.example)"
    )
    hive.broker.park(letter, "the turn took too long")
    unread = hive.broker.arrive("alice", "operator", "forty-two")
    hive.approvals.ask("carol", "to help")
    hive.broker.ask("alice", "operator", "Go on?", "yes", "no")
    hive.ledger.refuse("alice", "github.com")
    await browser.sees("#waiting-agents", "3 agents")
    for kind, words in (
        ("approvals", "1 approval"),
        ("questions", "1 question"),
        ("refused", "1 refused host"),
        ("dead", "1 dead letter"),
        ("messages", "1 unread message"),
    ):
        await browser.sees(f"#waiting-{kind}", words)
    assert await browser.value("document.title") == "(8) Hyperhive"
    assert await browser.value(ICON) == "/static/icon-8.svg"
    assert (await page.get("/static/icon-8.svg"))[0] == 200

    await browser.sees("#trouble [data-key=alice] .reason", "sent too <b>much</b>")
    assert await browser.value("document.querySelector('#trouble li').dataset.key") == "bob"
    await browser.sees("#trouble [data-key=manager] .buttons", "Log in…")
    # The first thing is one key away, whatever has the focus.
    await browser.type("body", "w")
    focus = "document.activeElement.closest('#approvals, #trouble')?.id"
    assert await browser.value(focus) == "approvals"
    await browser.click("#trouble [data-key=bob] [data-verb=start]")
    await browser.until(lambda _: hive.agents["bob"].calls == ["start"])
    await browser.click("#trouble [data-key=alice] [data-verb=unhold]")
    await browser.until(lambda _: hive.broker.unheld == ["alice"])
    await browser.sees("#dead .why", "the turn took too long")
    await browser.sees("#dead .excerpt", "lost in make\nat night https://x.example")
    await browser.click("#dead [data-verb=requeue]")
    await browser.until(lambda _: hive.broker.message(letter).state == MessageState.QUEUED)
    await browser.click("#unread [data-verb=read]")
    await browser.until(lambda _: hive.broker.read == [unread])
    hive.agents["bob"].become("running")
    hive.agents["alice"].show(turn_state=TurnState.IDLE, turn_reason="")
    hive.agents["manager"].show(turn_state=TurnState.IDLE)
    await browser.until_hidden("#trouble")
    await browser.until_hidden("#unread")
    assert await browser.violations() == []

    # On a phone, all of it comes before the agents, and the first screen shows what it is.
    await browser.resize(360, 740)
    assert await browser.overflow() == 0
    top = "document.querySelector('#waiting li').getBoundingClientRect()"
    assert await browser.value(f"{top}.bottom") < 740
    scroller = "getComputedStyle(document.querySelector('#waiting .scroll')).overflowY"
    assert await browser.value(scroller) == "visible"


async def test_a_row_says_how_an_agent_is_and_its_menu_acts(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive, alice, bob = page.hive, page.hive.agents["alice"], page.hive.agents["bob"]
    alice.show(
        turn_state=TurnState.THINKING,
        activity="Bash: make <b>test</b>",
        context_limit=200_000,
        context_tokens=100_000,
        stale=True,
        port_shared_with=["carol"],
        network=Network(deny=["10.0.0.0/8"], allow=[], name_servers=[], filtered=False),
    )
    hive.ledger.record("alice", 2_500_000)
    hive.broker.arrive("manager", "alice", "one")
    await log_in()
    row = "tr[data-key=alice]"
    await browser.sees(f"{row} .state", "thinking")
    await browser.sees(f"{row} .activity", "Bash: make <b>test</b>")
    await browser.sees(f"{row} .context", "50%")
    await browser.sees(f"{row} .cost", "$2.50")
    await browser.sees(f"{row} .commit", "0123456")
    await browser.sees(f"{row} .queue", "1")
    for chip in ("stale", "port conflict", "unfiltered"):
        await browser.sees(f"{row} .chip", chip)
    label = f"document.querySelector('{row} .memory').getAttribute('aria-label')"
    await browser.until(
        lambda d: d.execute_script(f"return {label}").startswith("Memory 50.0 MiB of 2.0 GiB")
    )
    # A container that runs and whose harness has not reported is not offline.
    hive.agents["manager"].show(turn_state=TurnState.NO_REPORT)
    await browser.sees("tr[data-key=manager] .state", "no report yet")

    await browser.choose(row, "cancel")
    await browser.until(lambda _: alice.commands == [("cancel", False)])
    await browser.choose(row, "write")
    assert (await browser.value("document.getElementById('compose-text').value")) == "@alice "
    # A turn is lost: the page asks first.
    await browser.choose(row, "stop")
    await browser.sees("dialog", "alice is working (thinking).")
    await browser.type("dialog button[type=button]", Keys.ENTER)
    await browser.until_count("dialog", 0)
    assert alice.calls == []
    await browser.choose(row, "stop")
    await browser.sees("dialog .danger", "Stop alice")
    await browser.until(lambda d: press_yes(d) and alice.calls == ["stop"])
    # To kill a working agent, its name is typed.
    await browser.choose(row, "kill")
    await browser.until_count("dialog .danger:disabled", 1)
    await browser.sees("dialog", "All its processes end at once")
    await browser.type("dialog [name=typed]", "alice")
    await browser.until(lambda d: press_yes(d) and alice.calls == ["stop", "kill"])
    await browser.until_count("dialog", 0)
    alice.show(turn_state=TurnState.IDLE, activity="")
    await browser.choose(row, "pause")
    await browser.sees(f"{row} .state", "paused")
    await browser.choose(row, "resume")
    await browser.sees(f"{row} .state", "idle")

    failure = "document.querySelector('dialog .error').textContent.slice(0, 33)"
    wrong = "memory_max: 'much' is not a limit"
    await browser.choose(row, "limits")
    await browser.type("dialog [name=memory_max]", "much")
    await browser.until(lambda d: press_yes(d) and d.execute_script(f"return {failure}") == wrong)
    await browser.type("dialog [name=memory_max]", *[Keys.BACKSPACE] * 4, "4G")
    await browser.until(lambda d: press_yes(d) and alice.limits == [{"memory_max": 4 * 2**30}])
    await browser.until_count("dialog", 0)
    hive.ledger.spend(Budget(BudgetKind.AGENT, "alice", BudgetPeriod.DAY, limit=5_000_000))
    await browser.sees(f"{row} .budget", "0 % today")
    await browser.choose(row, "budget")
    await browser.type("dialog [name=day]", Keys.BACKSPACE, "7.50")
    wanted = [("agent", "alice", {"day": 7_500_000})]
    await browser.until(lambda d: press_yes(d) and hive.ledger.set == wanted)
    await browser.until_count("dialog", 0)
    await browser.choose("tr[data-key=bob]", "purge")
    await browser.until_count("dialog .danger:disabled", 1)
    await browser.type("dialog [name=typed]", "bob")
    await browser.until(lambda d: press_yes(d) and hive.lifecycle.destroyed == [("bob", True)])

    # An error is about the agent as it was: it goes when the agent changes.
    bob.refuses = True
    await browser.choose("tr[data-key=bob]", "start")
    await browser.sees("#agents .error", "bob is busy.")
    bob.become("failed")
    await browser.until_hidden("#agents > .error")
    job = FakeJob("bob", "start", [])
    page.buses["lifecycle"].export(names.job_path(2), job)
    hive.lifecycle.JobNew(2, names.job_path(2), "bob", "start")
    await browser.choose("tr[data-key=bob]", "cancel-job")
    await browser.sees("tr[data-key=bob] .state", "start is being cancelled")
    # The agent's own page has buttons, and a menu with the rest.
    await browser.open_live(f"{page.url}/agents/alice")
    await browser.click("#agent .menu-of")
    verbs = "[...document.querySelectorAll('.menu [data-verb]')].map((one) => one.dataset.verb)"
    assert not {"stop", "restart"} & set(await browser.value(verbs))
    await browser.type(".menu [role=menuitem]", Keys.ESCAPE)
    await browser.until_count(".menu", 0)
    await browser.choose("#agent .now", "pause")
    await browser.click("#agent [data-verb=resume]")
    await browser.until_hidden("#agent [data-verb=resume]")
    assert alice.calls[-2:] == ["pause", "resume"]
    await browser.do(lambda d: d.execute_script("document.documentElement.dataset.role = 'guest'"))
    await browser.until_hidden("#agent .menu-of")
    assert await browser.violations() == []


def press_yes(driver: object) -> bool:
    """Press the button that answers a dialog; a dialog takes no press in its first moment."""
    script = "document.querySelector('dialog [type=submit]')?.click()"
    driver.execute_script(script)  # type: ignore[attr-defined]
    return True


@pytest.mark.long
async def test_agents_are_sorted_filtered_and_grouped_and_the_browser_keeps_how(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive = page.hive
    hive.agents["bob"].become("failed")
    hive.agents["alice"].show(turn_state=TurnState.THINKING, model="opus")
    await log_in()
    await browser.until(lambda d: d.execute_script(f"return {ROWS}") == ["bob", "alice", "manager"])
    await browser.sees("#agents .summary", "3 · 1 in trouble · 1 busy")
    sort = "document.getElementById('agents-sort')"
    change = "dispatchEvent(new Event('change'))"
    await browser.do(lambda d: d.execute_script(f"{sort}.value = 'name'; {sort}.{change}"))
    assert await browser.value(ROWS) == ["manager", "alice", "bob"]
    await browser.type("#agents-filter", "opus")
    await browser.sees("#agents .summary", "1 of 3")
    assert await browser.value(ROWS) == ["alice"]
    await browser.type("#agents-filter", Keys.ESCAPE)
    await browser.do(
        lambda d: d.execute_script(
            "const group = document.getElementById('agents-group');"
            f"group.value = 'model'; group.{change}"
        )
    )
    kept = ["group claude-test", "manager", "bob", "group opus", "alice"]
    assert await browser.value(ROWS) == kept
    await browser.open_live(page.url)
    await browser.until(lambda d: d.execute_script(f"return {ROWS}") == kept)


@pytest.mark.long
async def test_rows_stay_while_somebody_points_at_them(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.sees("tr[data-key=bob] .state", "stopped")
    await browser.point_at("tr[data-key=bob] .name")
    before = await browser.value(ROWS)
    await browser.freeze()
    await browser.advance(60_000)  # the order may change now, if it may at all
    page.hive.agents["alice"].show(turn_state=TurnState.THINKING)
    await browser.sees("tr[data-key=alice] .state", "thinking")
    assert await browser.value(ROWS) == before
    await browser.thaw()
    await browser.point_at("#messages")
    await browser.until(lambda d: d.execute_script(f"return {ROWS}")[0] == "alice")


async def test_a_notice_is_one_says_how_things_stand_ends_and_stays_dismissed(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    hive, bob = page.hive, page.hive.agents["bob"]
    bob.become("running")
    await log_in()
    for _ in range(3):
        bob.Crashed("exit-code", 1)
    bob.become("failed")
    await browser.sees("#notices", "bob crashed 3 times (last: exit-code, status 1), and is not")
    await browser.until_count("#notices li", 1)
    await browser.click("#notices button")
    await browser.until_count("#notices li", 0)
    await browser.open_live(page.url)
    await browser.until_count("#notices li", 0)
    bob.Crashed("exit-code", 1)
    await browser.sees("#notices", "bob crashed 4 times")
    bob.become("running")
    await browser.sees("#notices [data-level=note]", "It is running again.")
    hive.lifecycle.JobRemoved(1, "/org/hyperhive/Lifecycle1/job/1", "bob", "start", "done", "")
    await browser.until_count("#notices li", 0)


@pytest.mark.long
async def test_a_crash_loop_is_what_lifecycle_has_seen_and_ends_with_time(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    """Nobody has listened to the crashes; a container that runs for ten minutes is out of it."""
    bob, now = page.hive.agents["bob"], time.time_ns() // 1000
    bob.show(state=AgentState.RUNNING, crashes=3, last_crash=now)
    await log_in()
    await browser.sees("tr[data-key=bob] .chip", "crash loop")
    assert (await browser.value(ROWS))[0] == "bob"
    bob.show(last_crash=now - CRASHES_IN_A_ROW_US)
    await browser.until_count("tr[data-key=bob] .chip", 0)
    bob.become("failed")
    await browser.sees("tr[data-key=bob] .chip", "crash loop")
    bob.show(state=AgentState.RUNNING, crashes=0)
    await browser.until_count("tr[data-key=bob] .chip", 0)


@pytest.mark.long
async def test_a_page_without_a_connection_does_not_show_the_past_as_the_present(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await browser.sees("tr[data-key=alice] .state", "idle")
    page.dashboard.drain()
    await page.dashboard.close()
    await browser.sees("#notices", "The dashboard has not answered since")
    await browser.until_count("body.outdated", 1)


async def test_the_load_is_that_between_two_events(page: Page) -> None:
    alice = page.hive.agents["alice"]
    await page.log_in()
    tables = await page.until(lambda t: "alice" in t["samples"])
    assert tables["samples"]["alice"]["memory"] == [50 * 2**20]
    assert alice.shown.state is AgentState.RUNNING
    asked = alice.usages
    alice.usage = Usage(cpu=9_500_000, memory=60 * 2**20)
    for number in range(20):  # too early: they wait for one more question
        alice.show(activity=f"step {number}")
    await page.until(lambda t: t["agents"]["alice"]["activity"] == "step 19")
    assert alice.usages == asked
    alice.become("stopped")
    await page.until(lambda t: "alice" not in t["samples"])
