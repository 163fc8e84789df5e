"""The turns of an agent, their charts and their pages in a real browser."""

import json
from functools import partial
from pathlib import Path

import pytest

from services.dashboard.tests.browser import Browser, needs_chromium
from services.dashboard.tests.conftest import LogIn, Page
from services.dashboard.tests.fake_harness import a_busy_turn, a_turn
from wire.records.ledger import Cost

pytestmark = needs_chromium


@pytest.mark.long
async def test_turns_and_charts_follow_the_end_of_a_turn(
    page: Page, browser: Browser, log_in: LogIn
) -> None:
    await log_in()
    async with page.harness("alice") as harness:
        harness.turns = [a_turn(1, seconds=30)]
        days = page.hive.ledger.days
        days.append(Cost("2026-11-27", 4, 80_000_000, 9000, 300, 0, 0, 2_500_000))
        harness.days = [{"day": "2026-11-27", "tools": {"Bash": 7}}]
        await browser.open_live(f"{page.url}/agents/alice")
        await browser.sees("[data-figure=last-turn]", "30 s")
        await browser.press("#tab-days")
        await browser.sees("#days figure", "$2.50 in 14 days")
        harness.turns.append(a_turn(2, seconds=45, denied=2))
        days.append(Cost("2026-11-29", 2, 0, 0, 0, 0, 0, 1_500_000))
        harness.add("turn-end", 2, outcome="done", error="", seconds=45, cost_usd=0.1)
        await browser.sees("[data-figure=last-turn]", "45 s")
        await browser.sees("#days figure", "$4.00 in 14 days")
        assert (
            await browser.value("document.querySelectorAll('#days svg rect.series-0').length") >= 4
        )
        assert "the table below" in await browser.value(
            "document.querySelector('#days svg').getAttribute('aria-label')"
        )
        await browser.unfold("#days summary")
        await browser.sees("#days tbody tr", "20 s")
        await browser.press("#tab-turns")
        await browser.sees("#turns tbody tr", "Turn 2")
        await browser.sees("#turns tbody td.number.bad", "2")
        assert await browser.violations() == []


def _exists(file: Path, _: object) -> bool:
    return file.exists()


@pytest.mark.long
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
        await browser.open_live(f"{page.url}/agents/alice")
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
        await browser.open_live(f"{page.url}/agents/alice/turns/99")
        await browser.sees("#turn .error", "no turn 99")
        await browser.sees("#events .empty", "no events")
        assert await browser.violations() == []
