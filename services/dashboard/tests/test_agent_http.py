"""The paths of one agent's page: events, turns, figures, and commands to its harness."""

import asyncio
import json
import time

import aiohttp
import pytest

from services.dashboard.clients import harnesses
from services.dashboard.tests.conftest import Page
from services.dashboard.tests.fake_harness import a_turn


@pytest.fixture
async def inside(page: Page) -> Page:
    await page.log_in()
    return page


async def test_events_page_in_both_directions_and_by_turn(inside: Page) -> None:
    async with inside.harness("alice") as harness:
        for number in range(1, 11):
            harness.add("text", turn=1 + number % 2, text=f"event {number}")

        async def seqs(query: str) -> list[int]:
            status, answer = await inside.get(f"/api/agents/alice/events?{query}")
            assert status == 200, answer
            assert (answer["first"], answer["last"]) == (1, 10)
            return [event["seq"] for event in answer["events"]]

        assert await seqs("limit=3") == [8, 9, 10]
        assert await seqs("limit=3&before=8") == [5, 6, 7]
        assert await seqs("limit=3&after=5") == [6, 7, 8]
        assert await seqs("after=0&turn=2") == [1, 3, 5, 7, 9]
        status, answer = await inside.get("/api/agents/alice/events/4")
        assert (status, answer["event"]["blocks"][0]["text"]) == (200, "event 4")
        assert (await inside.get("/api/agents/alice/events/11"))[0] == 404
        assert (await inside.get("/api/agents/alice/events?before=x"))[0] == 400
        # The dashboard asks for no more than it shows.
        await inside.get("/api/agents/alice/events?limit=9999")
        assert harness.requests[-1] == f"/v1/events?limit={harnesses.EVENTS}"


async def test_an_answer_with_wrong_numbers_has_only_those_that_grow(inside: Page) -> None:
    async with inside.harness("alice") as harness:
        for seq in (5, 3, 4, 4, -1, "x", 9):
            harness.events.append(
                {"seq": seq, "at": 1, "turn": None, "type": "text", "data": {"text": "t"}}
            )
        harness.events[-3]["seq"] = 0
        harness.events[-2]["seq"] = 2**60
        _, answer = await inside.get("/api/agents/alice/events?before=9&limit=50")
        found = [event["seq"] for event in answer["events"]]
        assert found == sorted(set(found))
        assert all(0 < seq < 9 for seq in found)


async def test_a_whole_event_has_the_texts_that_a_list_cuts(inside: Page) -> None:
    async with inside.harness("alice") as harness:
        harness.add("tool-result", id="t", content="x" * 50_000)
        _, listed = await inside.get("/api/agents/alice/events")
        _, whole = await inside.get("/api/agents/alice/events/1")
        assert listed["events"][0]["cut"] is True
        assert len(listed["events"][0]["blocks"][0]["text"]) < 50_000
        assert whole["event"]["blocks"][0]["text"] == "x" * 50_000


async def test_turns_and_days_come_from_the_harness_or_else_from_the_ledger(inside: Page) -> None:
    inside.hive.ledger.record("alice", 250_000, tools={"Bash": 4}, denied=2, outcome="done")
    inside.hive.ledger.record("bob", 1)
    _, answer = await inside.get("/api/agents/alice/turns")
    [recorded] = answer["turns"]
    assert (recorded["id"], recorded["seconds"], recorded["cost"]) == (1, 5.0, 0.25)
    assert (recorded["tools"], recorded["denied"]) == ([{"tool": "Bash", "calls": 4}], 2)
    assert (await inside.get("/api/agents/alice/turns/1"))[1]["turn"] == recorded
    assert (await inside.get("/api/agents/alice/turns/2"))[0] == 404
    _, answer = await inside.get("/api/agents/alice/days")
    assert [(day["turns"], day["cost"]) for day in answer["days"]] == [(1, 0.25)]
    async with inside.harness("alice") as harness:
        harness.turns = [a_turn(1), a_turn(2)]
        harness.days = [
            {"day": "2026-05-28", "turns": 3, "cost_usd": 99, "tools": {"Bash": 4}},
            {"day": "x"},
        ]
        _, answer = await inside.get("/api/agents/alice/turns")
        assert [turn["id"] for turn in answer["turns"]] == [2, 1]
        assert answer["turns"][0]["messages"][0]["id"] == 102
        _, answer = await inside.get("/api/agents/alice/turns/2")
        assert answer["turn"]["cache_read_tokens"] == 48_000
        _, answer = await inside.get("/api/agents/alice/days")
        [day] = answer["days"]
        assert (day["turns"], day["cost"]) == (1, 0.25), "costs are those of the ledger"
        assert day["tools"] == [{"tool": "Bash", "calls": 4}]


async def test_a_turn_is_exported_as_the_files_of_hivectl(inside: Page) -> None:
    async with inside.harness("alice") as harness:
        for number in range(1, 451):
            harness.add("text", turn=1 + number % 2, text=f"event {number}")
        harness.add("text", turn=3, text=float("nan"))
        harness.turns = [a_turn(2), a_turn(3)]
        export = f"{inside.url}/api/agents/alice/turns/2/export"
        async with inside.http.get(export) as answer:
            text, headers = await answer.text(), answer.headers
        first, *lines = map(json.loads, text.splitlines())
        assert first == {"agent": "alice", "turn": harness.turns[0]}
        assert [line["seq"] for line in lines] == list(range(1, 451, 2))
        assert headers["Content-Disposition"] == 'attachment; filename="alice-turn-2.jsonl"'
        assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        assert headers["X-Content-Type-Options"] == "nosniff"
        async with inside.http.get(f"{export}?form=html") as answer:
            page, headers = await answer.text(), answer.headers
        assert page.startswith("<!DOCTYPE html>")
        assert page.endswith("</body></html>\n")
        assert ("event 449" in page, "event 450" in page) == (True, False)
        assert headers["Content-Disposition"] == 'attachment; filename="alice-turn-2.html"'
        assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
        _, text = await inside.get("/api/agents/alice/turns/3/export")
        assert "NaN" not in text
        assert (await inside.get("/api/agents/alice/turns/9/export"))[0] == 404
        assert (await inside.get("/api/agents/alice/turns/2/export?form=exe"))[0] == 400


@pytest.mark.long
async def test_others_are_answered_while_the_texts_of_a_hostile_agent_are_escaped(
    inside: Page,
) -> None:
    async with inside.harness("alice") as harness:
        for _ in range(150):
            harness.add("text", text="a\ufe0f" * 2_000)
        longest = 0.0

        async def watch() -> None:
            nonlocal longest
            while True:
                began = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - began)

        watching, began = asyncio.create_task(watch()), time.monotonic()
        status, answer = await inside.get("/api/agents/alice/events?limit=150")
        took = time.monotonic() - began
        watching.cancel()
        assert (status, len(answer["events"])) == (200, 150)
        assert longest < took / 2, "others wait while all of it is escaped"


async def test_only_so_many_exports_run_and_one_that_fails_is_cut_off(inside: Page) -> None:
    """A browser keeps no file of an answer that is cut off."""
    async with inside.harness("alice") as harness:
        harness.turns = [a_turn(1)]
        for _ in range(10):
            harness.add("text", turn=1, text="t" * 50_000)
        harness.hangs_after = 5
        export = f"{inside.url}/api/agents/alice/turns/1/export"
        running = [await inside.http.get(export) for _ in range(4)]
        status, answer = await inside.get("/api/agents/alice/turns/1/export")
        assert (status, "are being exported" in answer["error"]) == (413, True)
        await harness.stop()
        for one in running:
            with pytest.raises(aiohttp.ClientError):
                await one.read()
        status, answer = await inside.get("/api/agents/alice/turns/1/export")
        assert status == 503


async def test_commands_reach_the_harness_and_say_what_it_said(inside: Page) -> None:
    alice = inside.hive.agents["alice"]
    for path, body in (
        ("cancel", {}),
        ("cancel", {"requeue": True}),
        ("compact", {}),
        ("new-session", {}),
        ("model", {"value": " opus "}),
        ("model", {}),
        ("effort", {"value": "high"}),
    ):
        status, answer = await inside.post(f"/api/agents/alice/{path}", body)
        assert (status, answer) == (200, {"said": f"{path} is done."})
    assert alice.commands == [
        ("cancel", False),
        ("cancel", True),
        ("compact",),
        ("new-session",),
        ("model", "opus"),
        ("model", ""),
        ("effort", "high"),
    ]
    alice.refusal = "There is no turn to cancel."
    status, answer = await inside.post("/api/agents/alice/cancel")
    assert (status, answer["error"]) == (409, "There is no turn to cancel.")
    assert (await inside.post("/api/agents/alice/cancel", {"requeue": "yes"}))[0] == 400
    assert (await inside.post("/api/agents/alice/model", {"value": "x" * 300}))[0] == 400
    assert (await inside.post("/api/agents/..%2fx/cancel"))[0] == 404


async def test_a_harness_that_is_away_or_talks_nonsense_is_an_error_with_a_sentence(
    inside: Page,
) -> None:
    status, answer = await inside.get("/api/agents/alice/events")
    assert (status, answer["name"]) == (503, "org.hyperhive.Error.Unavailable")
    assert "alice" in answer["error"]
    assert (await inside.get("/api/agents/No%20Name/events"))[0] == 404


async def test_the_cost_of_today_is_live(inside: Page) -> None:
    ledger = inside.hive.ledger
    ledger.record("alice", 250_000)
    await inside.until(lambda t: t["costs"].get("alice", {}).get("cost") == 0.25)
    ledger.record("alice", 1_000_000)
    await inside.until(lambda t: t["costs"]["alice"]["cost"] == 1.25)
    ledger.settle("alice", "opus", cost=500_000)
    tables = await inside.until(lambda t: t["costs"]["alice"]["cost"] == 1.75)
    assert tables["costs"]["alice"]["ends"] > 1_780_000_000_000_000
    assert tables["services"]["ledger"]["available"] is True
    ledger.turns.clear()
    ledger.record("bob", 1)
    await inside.until(lambda t: "alice" not in t["costs"])
