"""Turns are told to the hive: each one, also those that ended while it was away."""

from typing import Any

import pytest

from harness.events import recorder
from harness.tests.conftest import Harness
from harness.tests.hive import Hive

FIGURES = (
    "input_tokens",
    "output_tokens",
    "context_tokens",
    "cost_usd",
    "first_request_ms",
    "first_token_ms",
)


async def test_a_turn_is_recorded_with_its_figures(harness: Harness, hive: Hive) -> None:
    number = await hive.push("tell alice hello")
    await harness.start()
    await hive.until(lambda: len(hive.recorded) == 1)
    [turn] = hive.recorded
    assert hive.acknowledged == [number]
    assert turn["outcome"] == "done"
    assert turn["tool_calls"] == 2
    assert sum(turn["tools"].values()) == 2
    assert all(turn[figure] > 0 for figure in FIGURES)
    assert turn["ended"] > turn["started"] > 1_700_000_000
    assert (turn["open_threads"], turn["open_reminders"]) == (3, 3)
    [row] = harness.rows(
        "hyperhive-turn-stats.sqlite",
        "SELECT id, open_threads, open_reminders FROM turns",
    )
    assert row == (turn["turn"], 3, 3)


@pytest.mark.long
async def test_turns_are_recorded_when_the_hive_takes_them(harness: Harness, hive: Hive) -> None:
    hive.refuse["record_turn"] = "The ledger is away."
    first = await hive.push("hello")
    await harness.start()
    await hive.until(lambda: first in hive.acknowledged and hive.called("record_turn") == 1)
    second = await hive.push("hello again")
    await hive.until(lambda: second in hive.acknowledged)
    assert hive.called("record_turn") == 1, "it waits after a refusal"
    await harness.stop()
    del hive.refuse["record_turn"]
    await harness.start()
    await hive.until(lambda: len(hive.recorded) == 2)
    third = await hive.push("hello once more")
    await hive.until(lambda: len(hive.recorded) == 3)
    assert third in hive.acknowledged
    assert [turn["turn"] for turn in hive.recorded] == [1, 2, 3], "each once, in their order"


async def test_a_killed_turn_is_recorded_as_interrupted(harness: Harness, hive: Hive) -> None:
    await hive.push("wait for go")
    await harness.start()
    await hive.until(lambda: hive.called("recv") > 0 and hive.state == "thinking")
    await harness.stop(9)
    hive.queued.clear()
    await harness.start()
    await hive.until(lambda: len(hive.recorded) == 1)
    assert hive.recorded[0]["outcome"] == "interrupted"
    assert hive.recorded[0]["ended"] == hive.recorded[0]["started"]


def test_whatever_is_in_a_row_becomes_arguments_that_the_hive_takes() -> None:
    row: dict[str, Any] = {
        "id": 5,
        "started": 1.5,
        "ended": None,
        "outcome": "failed",
        "error": "two\nlines" + "x" * 1000,
        "model": "some model \N{SNOWMAN}",
        "session": "../../a b",
        "tools": {f"tool {n}": n for n in range(100)} | {"bad": "x", "": 3, "none": 0},
        "cost_usd": "much",
        "input_tokens": None,
        "output_tokens": 7,
    }
    given = recorder.arguments({"id": 5, "started": "x", "ended": b"y", "tools": 5, "model": 5})
    assert (given["started"], given["ended"], given["tools"]) == (0.0, 0.0, {})
    given = recorder.arguments(row)
    assert given["turn"] == 5
    assert given["ended"] == 1.5
    assert "\n" not in given["error"]
    assert len(given["error"]) <= 500
    assert given["model"] == "some-model--"
    assert given["session"] == "....ab"
    assert len(given["tools"]) == 64
    assert given["tools"]["tool-99"] == 99
    assert "cost_usd" not in given
    assert "input_tokens" not in given
    assert given["output_tokens"] == 7
