"""The harness's tools for traces, and the span that goes with what the agent sends."""

import asyncio
from typing import Any

import pytest

from services.endpoint.delivery.held_messages import Holder
from services.endpoint.spans import CurrentSpan
from services.endpoint.tests.client import LIMIT, Client
from services.endpoint.tests.stage import Hive

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPAN = {
    "trace": "0af7651916cd43dd8448eb211c80319c",
    "span": "b7ad6b7169203331",
    "operation": "chat",
    "started": 1700000000.25,
    "ended": 1700000002,
}


def text(result: dict[str, Any]) -> str:
    return str(result["content"][0]["text"])


async def tell(client: Client, hive: Hive) -> list[str | None]:
    """Send and ask as the model; return the spans with which the broker gets both."""
    await client.call("send", to="bob", body="hello")
    await client.call("ask", question="which port?")
    sent, asked = hive.broker.sent[-1][2], hive.broker.calls[-1][3]
    return [sent.get("traceparent"), asked.get("traceparent")]


async def until_connected(hive: Hive, connected: bool) -> None:
    """Wait until lifecycle is told that a harness is connected, or is not."""
    async with asyncio.timeout(LIMIT):
        while (await hive.agents["alice"].harness.get())[1] is not connected:
            pass


async def test_the_span_goes_with_what_is_sent_during_the_turn(hive: Hive) -> None:
    harness, model = await hive.harness(), await hive.client()
    assert await tell(model, hive) == [None, None]
    assert (await harness.call("trace", traceparent=TRACEPARENT))["structuredContent"] == {}
    assert await tell(model, hive) == [TRACEPARENT] * 2
    await harness.call("ask_permission", call="1", question="Bash?", options=["Deny"])
    assert hive.broker.calls[-1][3]["traceparent"] == TRACEPARENT
    await harness.call("trace", traceparent="")
    assert await tell(model, hive) == [None, None]


async def test_the_span_ends_with_the_connection_of_its_harness(hive: Hive) -> None:
    harness, model = await hive.harness(), await hive.client()
    await harness.call("trace", traceparent=TRACEPARENT)
    await until_connected(hive, True)
    await harness.close()
    await until_connected(hive, False)
    assert await tell(model, hive) == [None, None]


def test_another_connection_of_a_harness_ends_no_turn() -> None:
    span, first, second = CurrentSpan(), Holder(), Holder()
    span.enter(first, TRACEPARENT)
    span.forget(second)
    assert span.traceparent == TRACEPARENT
    span.forget(first)
    assert span.traceparent is None


@pytest.mark.parametrize(
    "wrong", ["x", TRACEPARENT + "\n", "00" + "-" * 53, "\x1b[2J", TRACEPARENT.upper()]
)
async def test_a_hostile_span_is_refused_with_a_sentence(hive: Hive, wrong: str) -> None:
    harness, model = await hive.harness(), await hive.client()
    answer = await harness.call("trace", traceparent=wrong)
    assert answer["isError"] is True
    assert "is not a valid traceparent. Use one of W3C Trace Context" in text(answer)
    assert "\x1b" not in text(answer)
    assert await tell(model, hive) == [None, None]


async def test_only_the_harness_is_told_the_span_of_a_message(hive: Hive) -> None:
    harness, model = await hive.harness(), await hive.client()
    await hive.broker.queue(1, traceparent=TRACEPARENT)
    [message] = (await harness.call("recv"))["structuredContent"]["messages"]
    assert message["traceparent"] == TRACEPARENT
    await hive.broker.queue(2, traceparent=TRACEPARENT)
    [message] = (await model.call("recv"))["structuredContent"]["messages"]
    assert "traceparent" not in message
    await hive.broker.queue(3)
    [message] = (await harness.call("recv"))["structuredContent"]["messages"]
    assert "traceparent" not in message


async def test_record_spans_reaches_telemetry_in_its_units(hive: Hive) -> None:
    harness = await hive.harness()
    span = {**SPAN, "links": [TRACEPARENT], "messages": [7], "cost_usd": 0.0123456, "turn": 3}
    answer = await harness.call("record_spans", spans=[span, {**SPAN, "operation": "invoke_agent"}])
    assert answer["structuredContent"] == {}
    times = {"started": 1_700_000_000_250_000, "ended": 1_700_000_002_000_000}
    assert hive.telemetry.spans == [
        {**SPAN, **times, "links": [TRACEPARENT], "messages": [7], "cost": 12_346, "turn": 3},
        {**SPAN, **times, "operation": "invoke_agent"},
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace": "0AF7651916CD43DD8448EB211C80319C"},
        {"span": ""},
        {"operation": "delete"},
        {"started": -1},
        {"ended": 2.0**34},
        {"error": "It said: no"},
        {"model": "obey me"},
        {"tool": "a b"},
        {"links": [TRACEPARENT] * 33},
        {"messages": [0]},
        {"agent": "bob"},
        {"prompt": "a text"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_record_spans_has_bounds(hive: Hive, wrong: dict[str, Any]) -> None:
    answer = await (await hive.harness()).call("record_spans", spans=[SPAN, {**SPAN, **wrong}])
    assert answer["isError"] is True
    assert f"spans.1.{next(iter(wrong))}" in text(answer)
    assert hive.telemetry.spans == []


async def test_record_spans_takes_a_number_of_them(hive: Hive) -> None:
    harness = await hive.harness()
    assert (await harness.call("record_spans", spans=[]))["isError"] is True
    assert (await harness.call("record_spans", spans=[SPAN] * 65))["isError"] is True
    assert (await harness.call("record_spans", spans=[SPAN] * 64))["structuredContent"] == {}
    assert len(hive.telemetry.spans) == 64
