"""The tail of an agent through the dashboard's stream: no gap, no repeat, and nothing unchecked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from services.dashboard.clients import agent_tails, pace
from services.dashboard.http.agent_handlers import MAX_TAILS
from services.dashboard.tests.conftest import TIME_LIMIT, Page
from services.dashboard.tests.fake_harness import FakeHarness


class Tail:
    """The tail of one page; it keeps the events as the page does."""

    def __init__(self, lines: aiohttp.StreamReader) -> None:
        self._lines = lines
        self.seqs: list[int] = []
        self.begins = 0

    async def item(self) -> dict[str, Any]:
        """Return the next item."""
        name = ""
        async with asyncio.timeout(TIME_LIMIT):
            async for line in self._lines:
                if line.startswith(b"event: "):
                    name = line[7:-1].decode()
                elif line.startswith(b"data: ") and name == "tail":
                    return self._keep(json.loads(line[6:]))
                elif line == b"\n":
                    name = ""
        raise AssertionError("The stream has ended.")

    async def until(self, kind: str) -> dict[str, Any]:
        """Return the next item of a kind."""
        while (item := await self.item())["tail"] != kind:
            pass
        return item

    async def until_seq(self, seq: int) -> None:
        """Read until the page has an event."""
        while seq not in self.seqs:
            await self.item()

    def _keep(self, item: dict[str, Any]) -> dict[str, Any]:
        if item["tail"] == "begin":
            self.begins += 1
            self.seqs = [event["seq"] for event in item["events"]]
        elif item["tail"] == "event":
            self.seqs.append(item["seq"])
        return item


@asynccontextmanager
async def following(page: Page, query: str = "tail=alice") -> AsyncIterator[Tail]:
    async with page.http.get(f"{page.url}/api/events?{query}") as stream:
        assert stream.status == 200
        yield Tail(stream.content)


async def test_a_cold_page_gets_the_newest_events_then_each_one_once(page: Page) -> None:
    await page.log_in()
    async with page.harness("alice") as harness:
        for number in range(300):
            harness.add("text", text=f"early {number}")
        async with following(page) as tail:
            begin = await tail.item()
            assert begin["tail"] == "begin"
            assert begin["first"] == 1
            assert begin["state"]["model"] == "claude-test"
            for number in range(50):
                harness.add("text", text=f"late {number}")
            await tail.until_seq(350)
    assert tail.seqs == list(range(101, 351))


async def test_a_page_that_connects_again_gets_only_what_it_missed(page: Page) -> None:
    await page.log_in()
    async with page.harness("alice") as harness:
        for number in range(20):
            harness.add("text", text=str(number))
        async with following(page, "tail=alice:15") as tail:
            await tail.until_seq(20)
            assert tail.seqs == [16, 17, 18, 19, 20]
            assert tail.begins == 0
        # After too many events, and after events that this harness never had, it begins again.
        for after in (10**9, 0):
            for number in range(1200 if after == 0 else 1):
                harness.add("text", text=str(number))
            async with following(page, f"tail=alice:{after}") as tail:
                assert (await tail.item())["tail"] == "begin"
                await tail.until_seq(harness.add("text", text="live"))


async def test_a_harness_that_goes_and_comes_back_leaves_no_gap(page: Page) -> None:
    await page.log_in()
    alice = page.hive.agents["alice"]
    async with page.harness("alice") as harness:
        harness.add("text", text="one")
        async with following(page) as tail:
            await tail.until_seq(1)
            await tail.until_seq(harness.add("text", text="two"))
            await harness.stop()
            assert "alice" in (await tail.until("away"))["reason"]
            harness.add("text", text="three")
            await harness.start(page.agents / "alice")
            alice.show(turn_since=1)
            await tail.until_seq(3)
            assert tail.seqs == [1, 2, 3]
            assert tail.begins == 1
            # A stopped agent has no harness, and the tail does not look for one.
            await harness.stop()
            alice.become("stopped")
            away = await tail.until("away")
            while "is stopped" not in away["reason"]:
                away = await tail.until("away")
            await harness.start(page.agents / "alice")
            harness.add("text", text="four")
            alice.become("running")
            await tail.until_seq(4)
            assert tail.seqs == [1, 2, 3, 4]


async def test_a_harness_that_only_opens_and_closes_is_left_alone(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_tails, "RETRY_SECONDS", (0.0, 0.0, 0.0))
    await page.log_in()
    harness = FakeHarness()
    async with following(page) as tail:
        for _ in range(4):
            await tail.until("away")
        await harness.start(page.agents / "alice")
        page.hive.broker.arrive("alice", "manager", "a change of another table")
        page.hive.agents["alice"].show(turn_since=7)
        await tail.until("begin")
        assert harness.requests.count("/v1/state") == 1
        await tail.until_seq(harness.add("text", text="live"))
    await harness.stop()


async def test_events_that_lie_are_dropped_or_made_harmless(page: Page) -> None:
    await page.log_in()
    async with page.harness("alice") as harness, following(page) as tail:
        await tail.until("begin")
        harness.add("text", text="first")
        await tail.until_seq(1)
        for wrong in (0, -1, 1, "7", True, 1.5e300, None):
            harness.tell("event", {"seq": wrong, "at": 0, "turn": 1, "type": "text", "data": {}})
        harness.tell("surprise", {"seq": 5})
        harness.tell("event", {"seq": 2, "at": "never", "turn": "x", "type": ["?"], "data": 7})
        item = await tail.item()
        assert (item["seq"], item["at"], item["turn"], item["type"]) == (2, 0, None, "other")
        assert item["blocks"][0]["text"] == '{"data": 7}'
        harness.tell("partial", {"kind": "<img>", "text": "x" * 10_000})
        partial = await tail.item()
        assert (partial["kind"], len(partial["text"]), partial["cut"]) == ("text", 4000, True)
        harness.tell("state", {"state": "<b>", "until": -1, "context_tokens": 1e400, "reason": {}})
        state = await tail.item()
        assert (state["state"], state["until"], state["context_tokens"]) == ("unknown", 0, 0)
        assert tail.seqs == [1, 2]


async def test_a_flood_has_a_pace(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MAX_BURST", 5)
    monkeypatch.setattr(pace, "ITEMS_A_SECOND", 1)
    await page.log_in()
    async with page.harness("alice") as harness, following(page) as tail:
        await tail.until("begin")
        for number in range(100):
            harness.add("text", text=str(number))
        await tail.until_seq(5)
        # The other tables are not held up.
        page.hive.broker.arrive("alice", "manager", "meanwhile")
        await page.until(lambda tables: tables["messages"])
        # At this pace, all of them would take a minute and a half.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await tail.until_seq(100)


async def test_a_page_that_closes_ends_the_stream_of_the_harness(page: Page) -> None:
    await page.log_in()
    async with page.harness("alice") as harness:
        async with following(page) as tail:
            await tail.until("begin")
            harness.add("text", text="x")
            await tail.until_seq(1)
            assert not harness.ended.is_set()
        await page.streams.until_ended(1)
        async with asyncio.timeout(TIME_LIMIT):
            await harness.ended.wait()


async def test_a_tail_needs_a_session_and_the_name_of_an_agent(page: Page) -> None:
    assert (await page.get("/api/events?tail=alice"))[0] == 401
    await page.log_in()
    assert (await page.get("/api/events?tail=../etc"))[0] == 404
    for after in ("-1", "", "x", 2**60):
        assert (await page.get(f"/api/events?tail=alice:{after}"))[0] == 400
    many = "&".join(f"tail=a{number}" for number in range(MAX_TAILS + 1))
    assert (await page.get(f"/api/events?{many}"))[0] == 400


async def test_one_stream_has_the_tails_of_several_agents(page: Page) -> None:
    await page.log_in()
    async with page.harness("alice") as alice, page.harness("manager") as manager:
        manager.add("text", text="early")
        async with following(page, "tail=alice&tail=manager:0&tail=bob") as tail:
            seen: dict[str, list[str]] = {"alice": [], "manager": [], "bob": []}
            while not all(seen.values()):
                item = await tail.item()
                seen[item["of"]].append(item["tail"])
            assert seen["alice"][0] == "begin"
            assert seen["manager"][0] == "state"
            assert set(seen["bob"]) == {"away"}
            await manager.stop()
            away = {"of": "manager", "tail": "away"}  # bob's may come once more
            while not away.items() <= (await tail.item()).items():
                pass
            alice.add("text", text="goes on")
            assert (await tail.until("event"))["of"] == "alice"
