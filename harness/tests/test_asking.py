"""Tool calls that wait for the operator, with the real Claude Code and a fake hive."""

import asyncio
import os
import signal
import sys
import time
from typing import Any

import pytest

from harness.claude.permissions import ALLOW_ALWAYS, ALLOW_ONCE, ALLOW_SESSION, DENY
from harness.tests import greeter
from harness.tests.conftest import Harness
from harness.tests.hive import Hive
from sandbox.model import conversation

ASKS: dict[str, Any] = {"ask_tools": ["Bash(echo:*)"]}
LIMIT = 6.0
"""The time limit of a turn that works for half a second, and waits."""


async def asked(hive: Hive, count: int = 1) -> dict[str, Any]:
    """Wait until so many questions were asked; return the last one."""
    await hive.until(lambda: len(hive.questions) == count)
    return hive.questions[-1]


async def said(hive: Hive, count: int = 1) -> str:
    """Wait until the model has sent so many messages; return the last one."""
    await hive.until(lambda: len(hive.sent) == count)
    body: str = hive.sent[-1]["body"]
    return body


@pytest.mark.long
async def test_a_command_waits_for_the_operator_and_runs(harness: Harness, hive: Hive) -> None:
    await harness.start(**ASKS, turn_timeout=LIMIT)
    number = await hive.push("run echo $((40 + 2))")
    question = await asked(hive)
    assert question["question"] == "May I use Bash?\n\ncommand:\n    echo $((40 + 2))"
    await hive.until(lambda: hive.state == "waiting")
    [waiting] = [report for report in hive.reports if report.get("turn_state") == "waiting"]
    assert waiting["reason"] == "waits for the operator: Bash: echo $((40 + 2))"
    [wake] = harness.rows("hyperhive-events.sqlite", "SELECT at FROM events WHERE type = 'wake'")
    # The turn's time limit is over then, unless it has not run meanwhile.
    await asyncio.sleep(wake[0] + LIMIT + 0.5 - time.time())
    assert hive.state == "waiting"
    await hive.answer(0, ALLOW_ONCE)
    assert await said(hive) == "42"
    await hive.until(lambda: number in hive.acknowledged and hive.state == "idle")
    events = harness.events("permission")
    assert [event.get("answer") for event in events] == [None, [ALLOW_ONCE]]
    assert harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome, denied FROM turns") == [
        ("done", 0)
    ]


@pytest.mark.long
async def test_the_time_limit_runs_on_after_the_answer(harness: Harness, hive: Hive) -> None:
    await harness.start(ask_tools=["Bash"], turn_timeout=LIMIT)
    await hive.push("run tail --pid=$$ -f /dev/null")
    await asked(hive)
    await hive.answer(0, ALLOW_ONCE)
    await hive.until(lambda: hive.state == "error")


@pytest.mark.long
async def test_a_denial_with_a_reason_reaches_the_model(harness: Harness, hive: Hive) -> None:
    await harness.start(permissions="ask")
    await hive.push("look at http://example.org/a")
    question = await asked(hive)
    assert question["rule"] == "WebFetch(domain:example.org)"
    assert question["options"] == [ALLOW_ONCE, ALLOW_SESSION, ALLOW_ALWAYS, DENY]
    await hive.answer(0, DENY, "Read the copy in /srv.")
    assert await said(hive) == (
        "WebFetch was not run: the operator has denied it, and says: Read the copy in /srv."
    )
    await hive.until(lambda: hive.state == "idle")
    [denied] = harness.events("denied")
    assert denied["tool"] == "WebFetch"
    assert harness.rows("hyperhive-turn-stats.sqlite", "SELECT denied FROM turns") == [(1,)]


@pytest.mark.long
async def test_an_agent_that_does_not_ask_is_denied_and_that_is_counted(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(allowed_tools=["WebFetch(domain:example.org)"])
    await hive.push("look at http://elsewhere.org/a")
    assert "don't ask mode" in await said(hive)
    await hive.until(lambda: hive.state == "idle")
    [denied] = harness.events("denied")
    assert denied == {"tool": "WebFetch", "reason": "it is not among the allowed tools"}
    assert harness.rows("hyperhive-turn-stats.sqlite", "SELECT denied FROM turns") == [(1,)]
    await hive.until(lambda: len(hive.recorded) == 1)
    assert hive.recorded[0]["denied"] == 1
    assert hive.questions == []


@pytest.mark.long
async def test_a_session_s_permission_ends_with_the_session(harness: Harness, hive: Hive) -> None:
    await harness.start(**ASKS)
    for count, answer in ((1, ALLOW_SESSION), (2, None), (3, None)):
        await hive.push("run echo so")
        if answer:
            await asked(hive)
            await hive.answer(0, answer)
        assert await said(hive, count) == "so"
    await hive.until(lambda: hive.state == "idle")
    await hive.command("new-session")
    await hive.push("run echo so")
    await asked(hive, 2)
    await hive.answer(1, DENY)
    await said(hive, 4)


@pytest.mark.long
async def test_a_cancelled_turn_takes_its_question_back(harness: Harness, hive: Hive) -> None:
    await harness.start(**ASKS)
    number = await hive.push("run echo so")
    await asked(hive)
    await hive.until(lambda: hive.state == "waiting")
    await hive.command("cancel")
    await hive.until(lambda: hive.cancelled == [number] and hive.state == "idle")
    await hive.until(lambda: hive.open_questions == [])


@pytest.mark.long
async def test_an_answer_that_a_call_before_the_turn_leases_reaches_the_turn(
    harness: Harness, hive: Hive
) -> None:
    """The harness keeps a call for all messages open while an urgent one begins a turn."""
    await harness.start(**ASKS)
    await hive.push("hello")
    await hive.until(lambda: len(hive.acknowledged) == 1 and hive.state == "idle")
    for count in (1, 2, 3):
        await hive.push("run echo so", urgent=True)
        await asked(hive, count)
        await hive.answer(count - 1, ALLOW_ONCE)
        assert await said(hive, count) == "so"


async def kill(harness: Harness) -> None:
    """Kill the harness and its Claude Code at the same moment, as the end of the unit does."""
    claude = harness.claude()
    os.kill(claude, signal.SIGSTOP)
    await harness.stop(signal.SIGKILL)
    os.kill(claude, signal.SIGKILL)


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL]
)
async def test_a_question_outlives_the_harness(
    harness: Harness, hive: Hive, number: signal.Signals
) -> None:
    await harness.start(**ASKS)
    message = await hive.push("run echo again")
    await asked(hive)
    await (kill(harness) if number == signal.SIGKILL else harness.stop(number))
    assert hive.open_questions == [0]
    await harness.start(**ASKS)
    # The message is delivered again, the model makes the same call, and nothing is asked twice.
    await hive.until(lambda: hive.called("ask_permission") == 2)
    await hive.answer(0, ALLOW_ONCE)
    assert await said(hive) == "again"
    await hive.until(lambda: message in hive.acknowledged)
    assert len(hive.questions) == 1


@pytest.mark.long
async def test_an_answer_after_the_end_of_the_call_wakes_the_agent(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(**ASKS)
    message = await hive.push("run echo late")
    await asked(hive)
    await kill(harness)
    hive.queued.clear()  # somebody has dropped the message meanwhile
    await hive.answer(0, ALLOW_ONCE)
    await harness.start(**ASKS)
    assert await said(hive) == "late"
    assert len(hive.questions) == 1, "the very same call passes once"
    prompt = harness.events("wake")[-1]["prompt"]
    assert "make exactly the same call again" in prompt
    assert message not in hive.acknowledged
    await hive.push("run echo late")
    await asked(hive, 2)


@pytest.mark.long
async def test_a_late_answer_that_is_given_back_lets_nothing_pass_a_second_time(
    harness: Harness, hive: Hive
) -> None:
    await harness.start(ask_tools=["Bash"])
    await hive.push("run tail --pid=$$ -f /dev/null")
    await asked(hive)
    await kill(harness)
    hive.queued.clear()
    answer = await hive.answer(0, ALLOW_ONCE)
    before = len(hive.reports)
    await harness.start(ask_tools=["Bash"])
    await hive.until(lambda: any("tail" in r.get("activity", "") for r in hive.reports[before:]))
    await hive.command("cancel", requeue=True)
    assert hive.cancelled == []
    await kill(harness)  # another harness does not know that the answer was used
    await hive.until(lambda: [message["id"] for message in hive.queued] == [answer])
    await harness.start(ask_tools=["Bash"])
    await asked(hive, 2)


@pytest.mark.long
async def test_a_late_answer_that_comes_during_a_compaction_begins_the_next_turn(
    harness: Harness, hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = conversation.read
    answers: list[asyncio.Task[int]] = []

    def read(request: dict[str, Any]) -> conversation.Conversation:
        found = original(request)
        if found.compaction and not answers:
            answers.append(asyncio.create_task(hive.answer(0, ALLOW_ONCE)))
        return found

    monkeypatch.setattr(conversation, "read", read)
    await harness.start(**ASKS)
    await hive.push("hello")
    await hive.until(lambda: len(hive.acknowledged) == 1)
    await hive.push("run echo late")
    await asked(hive)
    await kill(harness)
    hive.queued.clear()
    await harness.start(**ASKS)
    await hive.until(lambda: hive.state == "idle")
    assert "Now the context is compacted" in (await hive.command("compact"))["text"]
    assert await said(hive) == "late"
    assert len(harness.events("compacted")) == 1
    assert len(hive.questions) == 1, "the very same call passes once"
    await hive.until(lambda: answers[0].result() in hive.acknowledged)


async def test_claude_codes_own_questions_go_to_the_operator(harness: Harness, hive: Hive) -> None:
    await harness.start(allowed_tools=["AskUserQuestion"])
    await hive.push("choose")
    await asked(hive, 2)
    by_text = {q["question"].split("\n")[0]: n for n, q in enumerate(hive.questions)}
    await hive.answer(by_text["Which sizes?"], "S", "L")
    await hive.answer(by_text["Which colour?"], "Green, please")
    answer = await said(hive)
    assert '"Which colour?"="Green, please"' in answer
    assert '"Which sizes?"="S, L"' in answer


@pytest.mark.long
async def test_a_form_of_an_mcp_server_is_filled_in_by_the_operator(
    harness: Harness, hive: Hive
) -> None:
    server = {"command": sys.executable, "args": [greeter.__file__]}
    await harness.start(mcp_servers={"greeter": server})
    await hive.push("fill in form")
    await asked(hive, 2)
    word = next(n for n, q in enumerate(hive.questions) if "Good day" in q["options"])
    await hive.answer(word, "Good day")
    await hive.answer(1 - word, "3")
    assert await said(hive) == '{"action": "accept", "content": {"word": "Good day", "times": 3}}'
    await hive.push("fill in address")
    assert await said(hive, 2) == '{"action": "decline"}'
    assert len(hive.questions) == 2, "no address is opened"
    [denied] = harness.events("denied")
    assert "which the hive does not do" in denied["reason"]
