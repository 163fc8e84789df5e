"""The live tail of an agent's page in a real browser."""

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fake_harness import a_busy_turn, a_turn
from wire.records.ledger import Cost

pytestmark = needs_chromium

COUNT = "document.querySelectorAll('.tail .event').length"
AT_END = (
    "(() => { const s = document.querySelector('.tail');"
    " return s.scrollHeight - s.scrollTop - s.clientHeight < 40 })()"
)
FIRST = "Number(document.querySelector('.tail .event').id.slice(6))"
LAST = "Number([...document.querySelectorAll('.tail .event')].at(-1).id.slice(6))"


async def scroll(browser: Browser, to: str) -> None:
    await browser.do(
        lambda d: d.execute_script(f"document.querySelector('.tail').scrollTop = {to}")
    )


async def is_true(browser: Browser, script: str) -> None:
    await browser.until(lambda d: d.execute_script(f"return {script}"))


async def test_the_tail_shows_what_the_agent_does(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        a_busy_turn(harness)
        await browser.open_live(f"{page.url}/agents/alice")
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
        await browser.unfold(".event[data-type=thinking] summary")
        await browser.sees(".event[data-type=thinking] .markdown", "no newline")
        await browser.unfold("#event-7 summary")
        await browser.sees("#event-7 .added", "c")
        await browser.sees("#event-7 .removed", "b")
        await browser.unfold("#event-8 summary")
        await browser.press("#event-8 .more")
        await browser.sees("#event-8 .markdown", "The end.")

        # Live: a text as it is written, then whole; and the state.
        harness.tell("partial", {"turn": 8, "kind": "text", "text": "All **tests**"})
        await browser.sees(".partial strong", "tests")
        harness.add("text", 8, text="All tests pass.")
        # Models write Markdown; programs print what they print.
        text = "# Done\n- `a_b_c` <img src=x onerror=alert(1)>\n```py\nx = '**'\n```"
        harness.add("text", 8, text=text)
        harness.add("tool-result", 8, id="t9", content="**raw** `as` it is", error=False)
        await browser.sees(".tail .event .heading", "Done")
        await browser.sees(".tail .event .list code", "a_b_c")
        await browser.sees(".tail .event .list", "<img src=x onerror=alert(1)>")
        await browser.sees(".tail .event pre[data-language=py]", "x = '**'")
        await browser.sees(".tail .event .output", "**raw** `as` it is")
        display = "getComputedStyle(document.querySelector('.event .markdown')).display"
        assert await browser.value(display) == "block"
        await browser.sees(".tail .event", "All tests pass.")
        await browser.until_hidden(".partial")
    assert await browser.violations() == []
    assert await browser.errors() == []


@pytest.mark.long
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
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.sees(".tail .event", "Turn 2 cancelled after 1.0 s")
        shown = await browser.value("document.querySelector('.tail').innerText")
        assert shown.count("All is done.") == shown.count("It was cut off.") == 1
        await browser.unfold("#event-4 summary")
        await browser.sees("#event-4 .markdown", "Only here.")


@pytest.mark.long
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
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.sees("#event-3", "Result of Bash echo t1:")
        await browser.sees("#event-4", "Result of Bash echo t2:")
        await browser.sees("#event-6", "alone")
        # Below its call, only a screen reader needs the name.
        assert await browser.value("document.querySelector('#event-6 p.unseen') !== null")


@pytest.mark.long
async def test_the_agents_own_list_follows_its_tool(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        await browser.open_live(f"{page.url}/agents/alice")
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
        harness.days = [{"day": "2026-11-29", "tools": {hostile: 3}}]
        page.hive.ledger.days = [Cost("2026-11-29", 1, 0, 0, 0, 0, 0, 0)]
        for path in ("/agents/alice", "/agents/alice/turns/7"):
            await browser.open_live(page.url + path)
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


@pytest.mark.long
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
        await browser.open_live(f"{page.url}/agents/alice")
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


@pytest.mark.long
async def test_new_events_do_not_move_a_reader_who_has_scrolled_back(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        for number in range(60):
            harness.add("text", 1, text=f"line {number}")
        await browser.open_live(f"{page.url}/agents/alice")
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


@pytest.mark.long
async def test_a_harness_that_is_away_is_said_and_its_return_leaves_no_gap(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    alice = page.hive.agents["alice"]
    page.hive.ledger.record("alice", 250_000)
    await log_in()
    await browser.open_live(f"{page.url}/agents/alice")
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


@pytest.mark.long
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
        harness.days = [{"day": "2026-11-29", "tools": {long: 3}}]
        page.hive.ledger.days = [Cost("2026-11-29", 1, 0, 0, 0, 0, 0, 0)]
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.sees(".tail .event", "xxx")
        for tab in ("messages", "turns", "days", "logs", "live"):
            await browser.press(f"#tab-{tab}")
            assert await browser.overflow() == 0, tab
        await browser.open_live(f"{page.url}/agents/alice/turns/7")
        await browser.sees(".events", "xxx")
        assert await browser.overflow() == 0
