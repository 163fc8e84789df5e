"""The spans of turns of the real Claude Code, as the hive gets them."""

import asyncio
import json
from typing import Any, cast

import pytest
from claude_agent_sdk import AssistantMessage, StreamEvent, SystemMessage, UserMessage
from claude_agent_sdk import ToolResultBlock as Result
from claude_agent_sdk import ToolUseBlock as Use

from harness.events.turns import TurnStats
from harness.hive_client import HiveClient, Message, ToolError
from harness.jsonvalues import JsonObject
from harness.telemetry.span import Span, parse_traceparent
from harness.telemetry.telemetry import Telemetry
from harness.telemetry.turn_spans import MAX_LINKS, MAX_MESSAGES, TurnSpans
from harness.tests.conftest import Harness
from harness.tests.hive import Hive

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def traceparent(span: str = PARENT, trace: str = TRACE) -> str:
    return f"00-{trace}-{span}-01"


def of(hive: Hive, operation: str) -> list[dict[str, Any]]:
    return [span for span in hive.spans if span["operation"] == operation]


async def turns(hive: Hive, count: int) -> list[dict[str, Any]]:
    """Wait for the spans of so many turns, and return them."""
    await hive.until(lambda: len(of(hive, "invoke_agent")) >= count)
    return of(hive, "invoke_agent")


@pytest.mark.long
async def test_a_turn_its_answers_and_its_tools_are_spans_of_the_senders_trace(
    harness: Harness, hive: Hive
) -> None:
    number = await hive.push("tell alice hello", "carol", traceparent=traceparent())
    await harness.start(telemetry=True)
    [turn] = await turns(hive, 1)
    assert (turn["trace"], turn["parent"]) == (TRACE, PARENT)
    assert (turn["outcome"], turn["messages"], turn["turn"]) == ("done", [number], 1)
    assert turn["session"] == (harness.state / "hyperhive-session-id").read_text().strip()
    assert turn["answered_by"].startswith("claude-")
    assert "error" not in turn
    answers, tools = of(hive, "chat"), of(hive, "execute_tool")
    assert {span["trace"] for span in hive.spans} == {TRACE}
    assert {span["parent"] for span in [*answers, *tools]} == {turn["span"]}
    assert len({span["span"] for span in hive.spans}) == len(hive.spans) == 6
    assert [span["finish"] for span in answers] == ["tool_use", "tool_use", "end_turn"]
    assert sum(span["input_tokens"] for span in answers) == turn["input_tokens"] > 0
    assert sum(span["output_tokens"] for span in answers) == turn["output_tokens"] > 0
    assert all(span["answer"] and span["model"] and span["answered_by"] for span in answers)
    assert [span["tool"] for span in tools] == ["mcp__hive__send", "Bash"]
    assert all(span["call"] for span in tools)
    for span in hive.spans:
        assert 1_700_000_000 < turn["started"] <= span["started"] <= span["ended"] <= turn["ended"]
    # Each tool runs between two answers.
    order = sorted([*answers, *tools], key=lambda span: span["started"])
    assert [span["operation"] for span in order] == ["chat", "execute_tool"] * 2 + ["chat"]
    # The message that the turn sent belongs to it, and what comes later does not.
    assert hive.sent_in == [f"00-{TRACE}-{turn['span']}-01"]
    await hive.until(lambda: hive.traceparent == "")
    words = json.dumps(hive.spans)
    assert not any(text in words for text in ("hello", "echo", "Bash says", "alice", "carol"))


@pytest.mark.long
async def test_messages_of_several_traces_are_linked_and_those_of_none_begin_one(
    harness: Harness, hive: Hive
) -> None:
    other = traceparent("00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736")
    await hive.push("hello")
    await hive.push("hello", "carol", traceparent=traceparent())
    await hive.push("hello", "dora", traceparent=other)
    await hive.push("hello", "eve", traceparent="nonsense")
    await harness.start(telemetry=True)
    [turn] = await turns(hive, 1)
    assert (turn["trace"], turn["parent"], turn["links"]) == (TRACE, PARENT, [other])
    assert len(turn["messages"]) == 4
    await hive.push("hello")
    await hive.push("hello")
    later = (await turns(hive, 2))[1]
    assert later["trace"] not in (TRACE, parse_traceparent(other))
    assert "parent" not in later
    assert "links" not in later


@pytest.mark.long
async def test_an_urgent_message_links_its_span_to_the_running_turn(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(telemetry=True)
    await harness.waiting_for("wait for go")
    await hive.push("stop now", "carol", urgent=True, interrupt=True, traceparent=traceparent())
    [turn] = await turns(hive, 1)
    assert turn["trace"] != TRACE
    assert turn["links"] == [traceparent()]
    assert len(turn["messages"]) == 2


@pytest.mark.long
async def test_a_turn_that_fails_and_an_answer_that_is_refused_have_errors(
    harness: Harness, hive: Hive
) -> None:
    await hive.push("fail once", "carol", traceparent=traceparent())
    await harness.start(telemetry=True)
    await turns(hive, 2)
    failed, done = of(hive, "invoke_agent")
    assert (failed["outcome"], failed["error"]) == ("failed", "limit")
    assert (done["outcome"], done.get("error")) == ("done", None)
    assert {turn["parent"] for turn in (failed, done)} == {PARENT}, "each try is a span of its own"
    assert [span.get("error") is None for span in of(hive, "chat")] == [False, True]


@pytest.mark.long
async def test_a_cancelled_turn_ends_the_span_of_its_tool(harness: Harness, hive: Hive) -> None:
    await harness.start(telemetry=True)
    await harness.waiting_for("work")
    await hive.until(lambda: "Bash" in str(hive.reports[-1].get("activity")))
    await hive.command("cancel")
    [turn] = await turns(hive, 1)
    assert (turn["outcome"], turn["error"]) == ("cancelled", "cancelled")
    [send, command] = of(hive, "execute_tool")
    assert (send["tool"], send.get("error")) == ("mcp__hive__send", None)
    assert (command["tool"], bool(command["error"])) == ("Bash", True)


@pytest.mark.long
async def test_the_span_is_told_again_after_the_hive_was_away(harness: Harness, hive: Hive) -> None:
    await harness.start(telemetry=True)
    await harness.waiting_for("wait for go")
    told = hive.traceparent
    assert parse_traceparent(told)
    await hive.stop()
    hive.traceparent = ""
    await hive.start()
    await hive.until(lambda: hive.traceparent == told)
    (harness.root / "go").touch()
    (harness.state / "go").touch()


@pytest.mark.long
async def test_spans_that_the_hive_refuses_come_later(harness: Harness, hive: Hive) -> None:
    hive.refuse["record_spans"] = "Telemetry is away."
    await hive.push("hello")
    await harness.start(telemetry=True)
    await hive.until(lambda: hive.called("record_spans") == 1)
    assert hive.acknowledged or await _acknowledged(hive)
    del hive.refuse["record_spans"]
    await turns(hive, 1)
    assert harness.log().count("the hive does not take spans") == 1


async def _acknowledged(hive: Hive) -> bool:
    await hive.until(lambda: bool(hive.acknowledged))
    return True


@pytest.mark.long
async def test_the_end_of_the_harness_exports_the_turn_that_it_cuts_off(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(telemetry=True)
    await harness.waiting_for("work")
    assert await harness.stop() == 0
    [turn] = of(hive, "invoke_agent")
    assert turn["outcome"] == "cancelled"


@pytest.mark.long
async def test_the_end_of_the_harness_exports_what_waits_for_the_next_try(
    harness: Harness, hive: Hive
) -> None:
    hive.refuse["record_spans"] = "Telemetry is away."
    await hive.push("hello")
    await harness.start(telemetry=True)
    await hive.until(lambda: bool(hive.acknowledged) and hive.called("record_spans") > 0)
    await hive.until(lambda: hive.state == "idle")
    del hive.refuse["record_spans"]
    assert await harness.stop() == 0
    assert len(of(hive, "invoke_agent")) == 1


@pytest.mark.long
async def test_without_telemetry_no_trace_is_made(harness: Harness, hive: Hive) -> None:
    await hive.push("tell alice hello", "carol", traceparent=traceparent())
    await harness.start()
    await hive.until(lambda: len(hive.recorded) == 1)
    assert hive.called("trace") == hive.called("record_spans") == 0
    assert hive.sent_in == [""]


# --- without Claude Code ---------------------------------------------------------------------


class SlowHive:
    """A hive that answers a batch of spans only when it may."""

    def __init__(self) -> None:
        self.taken: list[list[JsonObject]] = []
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.error: ToolError | None = None

    async def connected(self, generation: int = 0) -> int:
        if generation:
            await asyncio.Event().wait()
        return 1

    async def trace(self, _traceparent: str) -> None:
        pass

    async def record_spans(self, spans: list[JsonObject]) -> None:
        self.asked.set()
        await self.answer.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.taken.append(spans)


@pytest.mark.parametrize("error", [None, ToolError("Telemetry is away.")])
async def test_an_end_while_the_hive_answers_hands_over_each_span_once(
    error: ToolError | None,
) -> None:
    hive = SlowHive()
    hive.error = error
    telemetry = Telemetry(cast("HiveClient", hive))
    task = asyncio.create_task(telemetry.run())
    telemetry.begin(1, [message(7)]).end(TurnStats())
    await hive.asked.wait()
    task.cancel()
    telemetry.begin(2, [message(8)]).end(TurnStats())
    await asyncio.sleep(0)  # the cancellation arrives before the answer
    hive.answer.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [[span["turn"] for span in batch] for batch in hive.taken] == [[1], [2]]


@pytest.mark.parametrize("moment", range(6))
async def test_an_end_just_after_the_answer_hands_over_each_span_once(moment: int) -> None:
    hive = SlowHive()
    telemetry = Telemetry(cast("HiveClient", hive))
    task = asyncio.create_task(telemetry.run())
    telemetry.begin(1, [message(7)]).end(TurnStats())
    await hive.asked.wait()
    hive.answer.set()
    for _ in range(moment):  # each turn of the event loop takes the answer one step further
        await asyncio.sleep(0)
    task.cancel()
    telemetry.begin(2, [message(8)]).end(TurnStats())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [[span["turn"] for span in batch] for batch in hive.taken] == [[1], [2]]


def message(number: int, context: str = "") -> Message:
    return Message(number, "carol", "bob", "message", "x", 0, False, None, traceparent=context)


def spans_of(*messages: Message) -> tuple[TurnSpans, list[Span]]:
    ended: list[Span] = []
    return TurnSpans(1, messages, "", ended.append), ended


@pytest.mark.parametrize(
    "text",
    [None, "", "x", traceparent("0" * 16), traceparent(trace="0" * 32), traceparent() + "\n"],
)
def test_only_a_traceparent_is_one(text: str | None) -> None:
    assert parse_traceparent(text) is None


def test_links_and_messages_are_bounded_and_each_is_there_once() -> None:
    contexts = [traceparent(f"{number:016x}") for number in range(1, 100)]
    turn, _ = spans_of(*(message(n, context) for n, context in enumerate(contexts, 1)))
    turn.urgent([message(200, contexts[5])])
    assert turn.turn.parent == f"{1:016x}"
    assert turn.turn.links == contexts[1 : MAX_LINKS + 1]
    assert len(turn.turn.messages) == MAX_MESSAGES


def test_the_tools_of_a_subagent_are_below_its_call() -> None:
    turn, ended = spans_of()
    turn.observe(AssistantMessage([Use("1", "Agent", {})], "m"))
    turn.observe(AssistantMessage([Use("2", "Bash", {})], "m", parent_tool_use_id="1"))
    turn.observe(UserMessage([Result("2", is_error=True)], parent_tool_use_id="1"))
    turn.observe(UserMessage([Result("1")]))
    turn.end(TurnStats(outcome="done"))
    command, subagent, whole = ended
    assert (command.tool, command.parent, command.error) == ("Bash", subagent.span, "tool_error")
    assert (subagent.tool, subagent.parent, subagent.error) == ("Agent", whole.span, "")


def stream(event: dict[str, Any]) -> StreamEvent:
    return StreamEvent("u", "s", event)


def test_odd_values_of_others_become_ones_that_the_hive_takes() -> None:
    turn, ended = spans_of()
    data = {"model": "a b\N{SNOWMAN}" * 99, "session_id": "../x y"}
    turn.observe(SystemMessage("init", data))
    odd = {"id": "a b" * 99, "model": "m" * 999, "usage": {"input_tokens": "7", "x": -1}}
    turn.observe(stream({"type": "message_start", "message": odd}))
    turn.observe(stream({"type": "message_delta", "delta": {"stop_reason": "no way"}, "usage": {}}))
    turn.observe(AssistantMessage([Use("1 2", "a b" * 99, {})], "m"))
    turn.observe(stream({"type": "message_stop"}))
    turn.end(TurnStats(outcome="done", cost_usd=-1.0, session="../x y"), "no good reason")
    chat, tool, whole = ended
    assert (chat.finish, chat.input_tokens, len(chat.answer)) == ("no_way", 0, 128)
    assert (len(tool.tool), tool.call, tool.error) == (128, "1_2", "cut_off")
    assert (whole.session, whole.cost_usd, whole.error) == (".._x_y", 0.0, "no_good_reason")
    assert all(len(name) <= 128 and " " not in name for name in (whole.model, chat.answered_by))
