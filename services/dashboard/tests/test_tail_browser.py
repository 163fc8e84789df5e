"""An agent at work in a real browser: its live tail, its prompt, its turns and its charts."""

import json
from functools import partial
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fake_harness import FakeHarness, a_turn
from wire.records.lifecycle import TurnState

pytestmark = needs_chromium

COUNT = "document.querySelectorAll('.tail .event').length"
AT_END = (
    "(() => { const s = document.querySelector('.tail');"
    " return s.scrollHeight - s.scrollTop - s.clientHeight < 40 })()"
)
FIRST = "Number(document.querySelector('.tail .event').id.slice(6))"
LAST = "Number([...document.querySelectorAll('.tail .event')].at(-1).id.slice(6))"


async def open_page(page: Page, browser: Browser, path: str = "/agents/alice") -> None:
    await browser.open(f"{page.url}{path}")
    await browser.sees("#link", "Live")


async def scroll(browser: Browser, to: str) -> None:
    await browser.do(
        lambda d: d.execute_script(f"document.querySelector('.tail').scrollTop = {to}")
    )


async def is_true(browser: Browser, script: str) -> None:
    await browser.until(lambda d: d.execute_script(f"return {script}"))


async def unfold(browser: Browser, css: str) -> None:
    """Click a summary until its details are open: a list that is still loading may move it."""

    def is_open(d: WebDriver) -> bool:
        summary = d.find_element(By.CSS_SELECTOR, css)
        opened = "return arguments[0].parentElement.open"
        if not d.execute_script(opened, summary):
            summary.click()
        return bool(d.execute_script(opened, summary))

    await browser.until(is_open)


def a_busy_turn(harness: FakeHarness) -> None:
    woken = [{"id": 41, "from": "operator", "kind": "message"}]
    harness.add("wake", 7, messages=woken, prompt="Please mend the parser.")
    servers = [{"name": "hyperhive", "status": "connected"}, {"name": "gh", "status": "failed"}]
    harness.add(
        "session", 7, model="claude-test", tools=["Bash"], mcp_servers=servers, resumed=True
    )
    harness.add("thinking", 7, text="The last line has no newline.")
    harness.add("text", 7, text="I'll look at the parser.")
    harness.add("tool-use", 7, id="t1", tool="Bash", input={"command": "pytest -q"})
    harness.add("tool-result", 7, id="t1", content="1 failed", error=True)
    edit = {"file_path": "/src/parser.py", "old_string": "a\nb\n", "new_string": "a\nc\nd\n"}
    harness.add("tool-use", 7, id="t2", tool="Edit", input=edit)
    body = "The parser is mended. " * 500
    send = {"to": "manager", "body": body + "The end."}
    harness.add("tool-use", 7, id="t3", tool="mcp__hive__send", input=send)
    harness.add("server-failed", 7, name="gh", error="spawn gh ENOENT")
    harness.add("denied", 7, tool="WebFetch", reason="agent.toml does not allow it.")
    harness.add("compacted", 7, trigger="auto", before=181_000, after=23_000)
    harness.add("note", 7, text="The notes were condensed.", level="info")
    harness.add("turn-end", 7, outcome="done", error="", seconds=72.4, cost_usd=0.1834)


async def test_the_tail_shows_what_the_agent_does(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        a_busy_turn(harness)
        await open_page(page, browser)
        for text in (
            "Turn 7 woken by message #41 from you",
            "Session resumed · claude-test",
            "MCP server gh: failed",
            "I'll look at the parser.",
            "Bash pytest -q",
            "1 failed",
            "Edit /src/parser.py",
            "changes +2",
            "hive send to manager",
            "spawn gh ENOENT",
            "Denied: WebFetch",
            "Context compacted (auto): 181 k → 23 k tokens",
            "The notes were condensed.",
            "Turn 7 done after 1 min 12 s · $0.18",
        ):
            await browser.sees(".tail .event", text)
        # Folded until somebody unfolds them; a long one is fetched whole.
        assert "no newline" not in await browser.value(
            "document.querySelector('.tail').textContent"
        )
        await unfold(browser, ".event[data-type=thinking] summary")
        await browser.sees(".event[data-type=thinking] pre", "no newline")
        await unfold(browser, "#event-7 summary")
        await browser.sees("#event-7 .added", "c")
        await browser.sees("#event-7 .removed", "b")
        await unfold(browser, "#event-8 summary")
        await browser.press("#event-8 .more")
        await browser.sees("#event-8 pre", "The end.")

        # Live: a text as it is written, then whole; and the state.
        harness.tell("partial", {"turn": 8, "kind": "text", "text": "All tests"})
        await browser.sees(".partial", "All tests")
        harness.add("text", 8, text="All tests pass.")
        await browser.sees(".tail .event", "All tests pass.")
        await browser.until_hidden(".partial")
    assert await browser.violations() == []
    assert await browser.errors() == []


async def test_a_text_is_shown_once_though_several_events_have_it(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="All is done.")
        harness.add("result", 1, text="All is done.", error=False)
        harness.add("turn-end", 1, outcome="done", error="", seconds=1, cost_usd=0)
        harness.add("result", 2, text="Only here.", error=False)
        harness.add("cancelled", 2, by="operator", text="It was cut off.")
        harness.add("turn-end", 2, outcome="cancelled", error="It was cut off.", seconds=1.0)
        await open_page(page, browser)
        await browser.sees(".tail .event", "Turn 2 cancelled after 1.0 s")
        shown = await browser.value("document.querySelector('.tail').innerText")
        assert shown.count("All is done.") == shown.count("It was cut off.") == 1
        await unfold(browser, "#event-4 summary")
        await browser.sees("#event-4 pre", "Only here.")


async def test_results_of_calls_at_the_same_time_name_their_calls(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        for call in ("t1", "t2"):
            harness.add("tool-use", 1, id=call, tool="Bash", input={"command": f"echo {call}"})
        for call in ("t1", "t2"):
            harness.add("tool-result", 1, id=call, content=f"output of {call}", error=False)
        harness.add("tool-use", 1, id="t3", tool="Bash", input={"command": "echo t3"})
        harness.add("tool-result", 1, id="t3", content="alone", error=False)
        await open_page(page, browser)
        await browser.sees("#event-3", "Result of Bash echo t1:")
        await browser.sees("#event-4", "Result of Bash echo t2:")
        await browser.sees("#event-6", "alone")
        # Below its call, only a screen reader needs the name.
        assert await browser.value("document.querySelector('#event-6 p.unseen') !== null")


async def test_the_agents_own_list_follows_its_tool(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        await open_page(page, browser)
        await browser.sees(".tail .empty", "No events yet.")
        await browser.until_hidden("#todo")
        harness.todo = [{"text": "mend the parser", "state": "doing"}]
        harness.add("tool-use", 1, id="t1", tool="mcp__own__todo", input={"items": []})
        harness.add("tool-result", 1, id="t1", content="1 step", error=False)
        await browser.sees("#todo li[data-state=doing]", "mend the parser")
        harness.todo = []
        harness.add("turn-end", 1, outcome="done", error="", seconds=1, cost_usd=0)
        await browser.until_hidden("#todo")


async def test_hostile_events_are_text(page: Page, browser: Browser, log_in: LogIn) -> None:
    hostile = '<img src=x onerror="window.harm = 1"><script>window.harm = 2</script> \u202egnp.exe'
    await log_in()
    async with page.harness("alice") as harness:
        harness.say(model=hostile, activity=hostile, reason=hostile, state=hostile)
        for kind in ("wake", "text", "thinking", "note", "denied", "cancelled", "limit", hostile):
            harness.add(
                kind, 7, text=hostile, prompt=hostile, tool=hostile, reason=hostile, by=hostile,
                messages=[{"id": 1, "from": hostile, "kind": hostile}], level=hostile,
            )  # fmt: skip
        for tool in ("Bash", "Write", "Edit", "mcp__hive__send", hostile):
            data = dict.fromkeys(
                ["command", "content", "file_path", "old_string", "new_string", "to", "body", "x"],
                hostile,
            )
            harness.add("tool-use", 7, id=hostile, tool=tool, input=data)
        harness.add("turn-end", 7, outcome=hostile, error=hostile, seconds=1, cost_usd=1)
        harness.todo = [{"text": hostile, "state": hostile}]
        harness.turns = [a_turn(7, outcome=hostile, model=hostile, error=hostile)]
        harness.days = [{"day": "2026-11-29", "turns": 1, "tools": {hostile: 3}}]
        for path in ("/agents/alice", "/agents/alice/turns/7"):
            await open_page(page, browser, path)
            await browser.sees(".events .event", "<script>")
            await browser.do(
                lambda d: d.execute_script(
                    "document.querySelectorAll('details').forEach((one) => { one.open = true })"
                )
            )
            await browser.sees("details .hidden-character", "U+202E")
            if path == "/agents/alice":
                await browser.press("#tab-turns")
                await browser.sees("#turns td", "unknown")
                await browser.press("#tab-days")
                await browser.sees("#days figure", "Calls of tools")
            assert await browser.value("window.harm") is None
            assert (
                await browser.value("document.querySelectorAll('main :is(img, script)').length")
                == 0
            )
            assert await browser.violations() == []
            assert await browser.errors() == []


async def test_a_hundred_thousand_events_keep_the_tab_bounded(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        for number in range(100_000):
            harness.events.append(
                {
                    "seq": number + 1,
                    "at": 1,
                    "turn": 1,
                    "type": "text",
                    "data": {"text": str(number)},
                }
            )
        await open_page(page, browser)
        await browser.sees(".tail .event", "99999")
        assert await browser.value(COUNT) == 200
        # Back through the older ones, whose places stay as more of them come.
        for _ in range(8):
            first = await browser.value(FIRST)
            await scroll(browser, "0")
            await is_true(browser, f"{FIRST} < {first}")
        assert await browser.value(COUNT) <= 600
        assert await browser.value(FIRST) <= 99_200
        # New ones are counted, and do not move what the reader looks at.
        last, top = (
            await browser.value(LAST),
            await browser.value("document.querySelector('.tail').scrollTop"),
        )
        for number in range(25):
            harness.add("text", 1, text=f"new {number}")
        await browser.sees("#live .newer", "25 new")
        assert (await browser.value(LAST), await browser.value(COUNT) <= 600) == (last, True)
        assert await browser.value("document.querySelector('.tail').scrollTop") == top
        # Forward again page by page, without a gap, to the newest.
        for _ in range(2):
            last = await browser.value(LAST)
            await scroll(browser, "1e9")
            await is_true(browser, f"{LAST} > {last}")
        numbers = (
            "[...document.querySelectorAll('.tail .event')].map((one) => Number(one.id.slice(6)))"
        )
        shown = await browser.value(numbers)
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        await browser.press("#live .newer")
        await browser.sees(".tail .event", "new 24")
        await is_true(browser, AT_END)
        # A flood of new ones pushes out the old ones.
        for number in range(1_500):
            harness.add("text", 1, text=f"flood {number}")
        await browser.sees(".tail .event", "flood 1499")
        await is_true(browser, AT_END)
        assert await browser.value(COUNT) <= 400
        shown = await browser.value(numbers)
        assert shown == list(range(shown[0], shown[0] + len(shown)))
        assert await browser.errors() == []


async def test_new_events_do_not_move_a_reader_who_has_scrolled_back(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        for number in range(60):
            harness.add("text", 1, text=f"line {number}")
        await open_page(page, browser)
        await browser.sees(".tail .event", "line 59")
        await is_true(browser, AT_END)
        for number in range(10):
            harness.add("text", 1, text=f"at the end {number}")
        await browser.sees(".tail .event", "at the end 9")
        await is_true(browser, AT_END)
        await scroll(browser, "100")
        await is_true(browser, f"!{AT_END}")
        harness.add("text", 1, text="below")
        await browser.sees("#live .newer", "1 new")
        assert await browser.value("document.querySelector('.tail').scrollTop") == 100
        await browser.press("#live .newer")
        await is_true(browser, AT_END)
        await browser.until_hidden("#live .newer")


async def test_a_harness_that_is_away_is_said_and_its_return_leaves_no_gap(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice = page.hive.agents["alice"]
    page.hive.ledger.record("alice", 250_000)
    await log_in()
    await open_page(page, browser)
    await browser.sees("#tail-away", "alice")
    # The host knows its turns and its costs.
    await browser.sees("[data-figure=last-turn]", "5.0 s")
    await browser.sees("[data-figure=cost]", "$0.25")
    await browser.press("#tab-turns")
    await browser.sees("#turns tbody", "Turn 1")
    await browser.press("#tab-live")
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="first")
        alice.show(turn_since=1)
        await browser.sees(".tail .event", "first")
        await browser.until_hidden("#tail-away")
        await harness.stop()
        await browser.sees("#tail-away", "alice")
        alice.become("stopped")
        await browser.sees("#tail-away", "alice is stopped")
        await browser.sees("#tail-known", "work without the agent")
        harness.add("text", 1, text="second")
        await harness.start(page.agents / "alice")
        alice.become("running")
        await browser.sees(".tail .event", "second")
        await browser.until_hidden("#tail-away")
        assert await browser.value(COUNT) == 2


async def test_the_state_has_its_age_its_reason_and_its_end(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    alice.show(
        turn_state=TurnState.RATE_LIMITED,
        turn_since=1_000_000,
        turn_reason="The usage limit is reached.",
        turn_until=4_000_000_000_000_000,
        model="opus",
        effort="high",
        context_tokens=150_000,
        context_limit=200_000,
    )
    await open_page(page, browser)
    await browser.sees("#agent .turn", "rate limited")
    await browser.sees("#agent .turn time", "for ")
    await browser.sees("#agent .why", "The usage limit is reached. · until")
    await browser.sees("#agent .why", "hivectl lift-limits")
    await browser.sees("[data-figure=model]", "opus")
    await browser.sees("[data-figure=effort]", "high")
    await browser.sees("[data-figure=context]", "75 % 150 k of 200 k")
    alice.show(turn_state=TurnState.NEEDS_LOGIN, turn_reason="", turn_until=0)
    await browser.sees("#agent .why", "Press Log in…, or run hivectl login alice")
    alice.show(turn_state=TurnState.ERROR, turn_reason="The API cannot be reached.")
    await browser.sees("#agent .why", "The API cannot be reached. Run hivectl status alice")
    alice.show(turn_state=TurnState.HELD, turn_reason="")
    await browser.sees("#agent .why", "hivectl unhold alice")
    await browser.sees("#agent .why", "may be open")
    alice.show(turn_state=TurnState.THINKING, activity="Bash: make")
    await browser.sees("#agent .why", "Bash: make")
    alice.show(turn_state=TurnState.IDLE, activity="")
    await browser.until_hidden("#agent .why")
    page.hive.ledger.record("alice", 1_500_000)
    await browser.sees("[data-figure=cost]", "$1.50")
    # The harness also knows the cost of the turn that runs.
    async with page.harness("alice") as harness:
        harness.say(cost_today_usd=1.75)
        alice.show(turn_since=2_000_000)
        await browser.sees("[data-figure=cost]", "$1.75")


async def test_the_buttons_steer_the_harness(page: Page, browser: Browser, log_in: LogIn) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    await open_page(page, browser)
    await browser.sees("#agent .turn", "idle")
    assert await browser.value("document.querySelector('[data-command=cancel]').disabled")
    alice.show(turn_state=TurnState.THINKING)
    await browser.sees("#agent .turn", "thinking")
    await browser.click("[data-command=cancel]")
    await browser.sees("#said", "cancel is done.")
    await browser.click("[data-command=compact]")
    await browser.sees("#said", "compact is done.")
    await browser.click("[data-command=new-session]")
    await browser.sees("#agent .confirm", "forgets")
    assert alice.commands == [("cancel", False), ("compact",)]
    await browser.click("#agent .confirm .primary")
    await browser.sees("#said", "new-session is done.")
    await browser.until_hidden("#agent .confirm")
    alice.refusal = "The harness does not answer."
    await browser.click("[data-command=compact]")
    await browser.sees("#write .error", "The harness does not answer.")
    alice.become("stopped")
    alice.show(turn_state=TurnState.OFFLINE)
    await browser.sees("#agent .turn", "offline")
    assert await browser.value(
        "[...document.querySelectorAll('[data-command]')].every((one) => one.disabled)"
    )


@pytest.mark.parametrize("state", [TurnState.RATE_LIMITED, TurnState.ERROR])
async def test_a_turn_is_cancelled_between_its_tries(
    page: Page, browser: Browser, log_in: LogIn, state: TurnState
) -> None:
    alice = page.hive.agents["alice"]
    await log_in()
    await open_page(page, browser)
    await browser.sees("#agent .turn", "idle")
    alice.show(turn_state=state)
    await browser.sees("#agent .turn", state.replace("-", " "))
    await browser.click("[data-command=cancel]")
    await browser.sees("#said", "cancel is done.")
    assert alice.commands == [("cancel", False)]
    alice.refusal = "There is no turn to cancel."
    await browser.click("[data-command=cancel]")
    await browser.sees("#write .error", "There is no turn to cancel.")


async def test_the_prompt_sends_messages_and_runs_commands(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice, box = page.hive.agents["alice"], "#write-text"
    text = "document.getElementById('write-text').value"
    await log_in()
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="shown")
        await open_page(page, browser)
        await browser.sees(".tail .event", "shown")
        await browser.type(box, "/")
        await browser.sees("#commands", "/new-session")
        await browser.type(box, "m", Keys.TAB)
        assert await browser.value(text) == "/model "
        await browser.sees("#commands", "claude-test")
        await browser.type(box, "op", Keys.TAB)
        assert await browser.value(text) == "/model opus"
        await browser.type(box, Keys.ENTER)
        await browser.sees("#said", "model is done.")
        await browser.type(box, "/effort hi", Keys.TAB, Keys.ENTER)
        await browser.sees("#said", "effort is done.")
        await browser.type(box, "/cancel requeue", Keys.ENTER)
        await browser.sees("#said", "cancel is done.")
        # An argument that is not typed is not taken from the list.
        alice.show(model="claude-opus-4-1", model_setting="opus")
        await browser.sees("[data-figure=model]", "claude-opus-4-1")
        await browser.type(box, "/model ", Keys.ENTER)
        await browser.sees("#said", "opus; claude-opus-4-1 has answered last")
        await browser.type(box, "/effort", Keys.ENTER)
        await browser.sees("#said", "default")
        await browser.type(box, "/model default", Keys.ENTER)
        await browser.until(lambda _: len(alice.commands) == 4)
        assert alice.commands == [
            ("model", "opus"),
            ("effort", "high"),
            ("cancel", True),
            ("model", "default"),
        ]
        await browser.type(box, "/help", Keys.ENTER)
        await browser.sees("#said", "/new-session")
        await browser.type(box, "/nonsense now", Keys.ENTER)
        await browser.sees("#write .error", "There is no command /nonsense")
        assert await browser.value(text) == "/nonsense now"
        await browser.type(box, *[Keys.BACKSPACE] * 13)
        await browser.type(box, "//etc/hosts is wrong", Keys.ENTER)
        await browser.sees("#said", "on its way")
        assert page.hive.broker.log[-1].body == "/etc/hosts is wrong"
        await browser.type(box, "first", Keys.SHIFT + Keys.ENTER + Keys.NULL, "second", Keys.ENTER)
        await browser.until(lambda _: page.hive.broker.log[-1].body == "first\nsecond")
        # The notice goes when the message has reached a turn.
        sent = {"id": page.hive.broker.log[-1].id, "from": "operator", "kind": "message"}
        await browser.sees("#said", f"#{sent['id']}")
        harness.add("wake", 2, messages=[sent], prompt="first")
        await browser.until_hidden("#said")
        # The arrows bring sent texts back, also after a reload; a draft is kept.
        await browser.type(box, "a draft", Keys.ARROW_UP)
        assert await browser.value(text) == "first\nsecond"
        await browser.type(box, Keys.ARROW_UP, Keys.ARROW_UP)
        assert await browser.value(text) == "//etc/hosts is wrong"
        await browser.type(box, *[Keys.ARROW_DOWN] * 2)
        assert await browser.value(text) == "a draft"
        await open_page(page, browser)
        await browser.type(box, Keys.ARROW_UP)
        assert await browser.value(text) == "first\nsecond"
        await browser.type(box, Keys.ARROW_DOWN, "/clear", Keys.ENTER)
        await browser.until_count(".tail .event", 0)
        harness.add("text", 1, text="after it")
        await browser.sees(".tail .event", "after it")
        # Without a list, Tab leads on to the next control.
        await browser.type(box, "word", Keys.TAB)
        assert await browser.value("document.activeElement.type") == "submit"
        await browser.click("#logout")
        await browser.sees("#how", "hivectl login-link")
        assert await browser.value("sessionStorage.length") == 0


async def test_tabs_are_reached_with_the_keyboard(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    await open_page(page, browser)
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


async def test_turns_and_charts_follow_the_end_of_a_turn(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        harness.turns = [a_turn(1, seconds=30)]
        tokens = {"input_tokens": 9000, "output_tokens": 300}
        busy = {"day": "2026-11-27", "turns": 4, "seconds": 80, "cost_usd": 2.5, **tokens}
        harness.days = [{**busy, "tools": {"Bash": 7}}]
        await open_page(page, browser)
        await browser.sees("[data-figure=last-turn]", "30 s")
        await browser.press("#tab-days")
        await browser.sees("#days figure", "$2.50 in 14 days")
        harness.turns.append(a_turn(2, seconds=45, denied=2))
        harness.days.append({"day": "2026-11-29", "turns": 2, "cost_usd": 1.5, "tools": {}})
        harness.add("turn-end", 2, outcome="done", error="", seconds=45, cost_usd=0.1)
        await browser.sees("[data-figure=last-turn]", "45 s")
        await browser.sees("#days figure", "$4.00 in 14 days")
        assert (
            await browser.value("document.querySelectorAll('#days svg rect.series-0').length") >= 4
        )
        assert "the table below" in await browser.value(
            "document.querySelector('#days svg').getAttribute('aria-label')"
        )
        await unfold(browser, "#days summary")
        await browser.sees("#days tbody tr", "20 s")
        await browser.press("#tab-turns")
        await browser.sees("#turns tbody tr", "Turn 2")
        await browser.sees("#turns tbody td.number.bad", "2")
        assert await browser.violations() == []


def _exists(file: Path, _: object) -> bool:
    return file.exists()


async def test_a_turn_has_a_page_of_its_own_with_a_download(
    page: Page, browser: Browser, log_in: LogIn, tmp_path: Path
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        a_busy_turn(harness)
        for number in range(150):
            harness.add("text", 7, text=f"more {number}")
        harness.add("text", 8, text="of another turn")
        harness.turns = [a_turn(7)]
        await open_page(page, browser)
        await browser.press(".event[data-type=wake] a")
        await browser.sees("#turn-name", "Turn 7 of alice")
        await browser.sees("#turn-facts", "message #107 from you")
        await browser.sees("#turn-facts", "48,000 from the cache")
        await browser.sees("#turn-facts", "3 calls: Bash")
        await browser.sees(".events", "more 149")
        assert "another turn" not in await browser.value("document.body.textContent")
        behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
        await browser.do(
            lambda d: d.execute(
                "executeCdpCommand", {"cmd": "Browser.setDownloadBehavior", "params": behaviour}
            )
        )
        for form in ("jsonl", "html"):
            await browser.press(f"[data-form={form}]")
            await browser.sees("#exported", "Saved.")
            file = tmp_path / f"alice-turn-7.{form}"
            await browser.until(partial(_exists, file))
        head, *lines = map(json.loads, (tmp_path / "alice-turn-7.jsonl").read_text().splitlines())
        assert head == {"agent": "alice", "turn": harness.turns[0]}
        assert lines == [event for event in harness.events if event["turn"] == 7]
        assert "more 149" in (tmp_path / "alice-turn-7.html").read_text()
        await open_page(page, browser, "/agents/alice/turns/99")
        await browser.sees("#turn .error", "no turn 99")
        await browser.sees("#events .empty", "no events")
        assert await browser.violations() == []


async def test_on_a_phone_nothing_is_wider_than_the_screen(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await browser.resize(360, 800)
    await log_in()
    async with page.harness("alice") as harness:
        a_busy_turn(harness)
        long = "x" * 3000
        harness.add("tool-use", 7, id="t9", tool="Bash", input={"command": long})
        harness.add("tool-result", 7, id="t9", content=long)
        harness.add("text", 7, text=long)
        harness.turns = [a_turn(7, outcome="failed", error=long)]
        harness.days = [{"day": "2026-11-29", "turns": 1, "tools": {long: 3}}]
        await open_page(page, browser)
        await browser.sees(".tail .event", "xxx")
        for tab in ("messages", "turns", "days", "logs", "live"):
            await browser.press(f"#tab-{tab}")
            assert await browser.overflow() == 0, tab
        await open_page(page, browser, "/agents/alice/turns/7")
        await browser.sees(".events", "xxx")
        assert await browser.overflow() == 0


SOON = """
const later = window.setTimeout;
window.setTimeout = (call, ms, ...more) => later(call, ms === 15000 ? 100 : ms, ...more);
"""


async def test_ten_tabs_of_agents_all_work(page: Page, browser: Browser, log_in: LogIn) -> None:
    """A browser opens six connections to a host: tabs that are not shown give theirs up."""
    await log_in()
    soon = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": SOON}}
    async with page.harness("alice") as harness:
        harness.add("text", 1, text="hello")
        handles = []
        for number in range(10):
            await browser.do(lambda d: d.switch_to.new_window("tab"))
            await browser.do(lambda d: d.execute("executeCdpCommand", soon))
            await open_page(page, browser)
            await browser.sees(".tail .event", "hello")
            handles.append(await browser.do(lambda d: d.current_window_handle))
            harness.add("text", 1, text=f"tab {number}")
            await browser.sees(".tail .event", f"tab {number}")
        await browser.do(lambda d: d.switch_to.window(handles[0]))
        await browser.sees(".tail .event", "tab 9")
        await browser.sees("#link", "Live")
        shown = await browser.value(
            "[...document.querySelectorAll('.tail .event')].map((one) => Number(one.id.slice(6)))"
        )
        assert shown == list(range(1, 12))
        # The tab went on from its last event; it did not begin again.
        begun = [path for path in harness.requests if path.startswith("/v1/events?")]
        assert len(begun) == 10
