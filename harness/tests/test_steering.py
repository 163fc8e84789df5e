"""The operator steers a running agent: cancellation, urgent messages, commands."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from harness.tests.conftest import Harness, ended
from harness.tests.hive import Hive
from sandbox.model import conversation

Requests = list[dict[str, Any]]


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Record the requests to the model."""
    found: Requests = []
    original = conversation.read

    def read(request: dict[str, Any]) -> conversation.Conversation:
        found.append(request)
        return original(request)

    monkeypatch.setattr(conversation, "read", read)
    return found


async def cancelled(hive: Hive, **more: Any) -> tuple[str, float]:
    """Cancel the turn; return the answer, and the seconds until the agent was idle."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    answer = await hive.command("cancel", **more)
    await hive.until(lambda: hive.state == "idle")
    assert "error" not in answer
    return answer["text"], loop.time() - began


@pytest.mark.parametrize("work", ["work", pytest.param("talk", marks=pytest.mark.long)])
async def test_a_turn_is_cancelled(harness: Harness, hive: Hive, work: str) -> None:
    await harness.start({"HIVE_CANCEL_TIMEOUT": "20"})
    number = await harness.waiting_for(work)
    claude = harness.claude()
    assert hive.reports[-1]["in_turn"] is True
    text, seconds = await cancelled(hive)
    assert hive.reports[-1]["in_turn"] is False
    assert seconds < 5
    assert "The turn was cut off after" in text
    assert ("tail --pid" in text) == (work == "work")
    assert hive.cancelled == [number]
    assert (hive.acknowledged, hive.queued) == ([], [])
    # Claude Code and the session are kept.
    later = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [later])
    assert harness.claude() == claude
    outcomes = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns ORDER BY id")
    assert outcomes == [("cancelled",), ("done",)]
    # The record says the same: Claude Code ends the calls of tools before it ends the turn.
    assert harness.events("cancelled")[0]["text"] == text.removesuffix(
        " The messages are cancelled."
    )
    assert harness.events("turn-end")[0]["error"] == harness.events("cancelled")[0]["text"]


@pytest.mark.long
async def test_fifty_cancellations_are_quick(
    harness: Harness, hive: Hive, record_property: Callable[[str, object], None]
) -> None:
    await harness.start()
    taken = []
    for turn in range(50):
        number = await harness.waiting_for("work" if turn % 2 else "talk")
        _, seconds = await cancelled(hive)
        taken.append(seconds)
        assert hive.cancelled[-1] == number
    taken.sort()
    figures = f"median {taken[25] * 1000:.0f} ms, longest {taken[-1] * 1000:.0f} ms"
    record_property("measured", f"50 cancellations until idle: {figures}")
    print(figures)
    assert taken[-1] < 10
    assert hive.acknowledged == []


@pytest.mark.long
async def test_a_cancelled_turn_leaves_no_command(grouped: Harness, hive: Hive) -> None:
    await grouped.start()
    number = await hive.push("spawn and work")
    await hive.until(lambda: len(hive.sent) == 1)
    assert grouped.group is not None
    commands = (grouped.group / "turn/cgroup.procs").read_text().split()
    assert commands
    left = [os.pidfd_open(int(pid)) for pid in commands]
    await cancelled(hive)
    for descriptor in left:
        await ended(descriptor)
    assert hive.cancelled == [number]


@pytest.mark.parametrize("by", ["operator", "manager"])
@pytest.mark.long
async def test_a_cancelled_message_is_given_back(harness: Harness, hive: Hive, by: str) -> None:
    await harness.start()
    number = await harness.waiting_for("wait for go")
    await hive.command("cancel", requeue=True, by=by)
    await hive.until(lambda: len(hive.sent) == 2)
    (harness.state / "go").touch()
    await hive.until(lambda: hive.acknowledged == [number])
    assert hive.cancelled == []
    assert 'redelivered="1 times"' in harness.events("wake")[1]["prompt"]
    [released] = [arguments for _, tool, arguments in hive.calls if tool == "release"]
    assert released["uncounted"] is True
    assert hive.reasons == [f"cancelled by the {by}"]
    assert [event["by"] for event in harness.events("cancelled")] == [by]


@pytest.mark.long
async def test_a_hanging_claude_is_killed_by_the_cancellation(grouped: Harness, hive: Hive) -> None:
    await grouped.start()
    first = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [first])
    number = await grouped.waiting_for("work")
    session = (grouped.state / "hyperhive-session-id").read_text()
    claude = grouped.claude()
    descriptor = os.pidfd_open(claude)
    os.kill(claude, signal.SIGSTOP)
    text, seconds = await cancelled(hive)
    assert "The turn was cut off" in text
    assert seconds < 10
    await ended(descriptor)
    assert hive.cancelled == [number]
    later = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [first, later])
    assert (grouped.state / "hyperhive-session-id").read_text() == session


async def test_there_is_nothing_to_cancel(harness: Harness, hive: Hive) -> None:
    await harness.start()
    await hive.until(lambda: hive.state == "idle")
    answer = await hive.command("cancel")
    assert answer == {"error": "There is no turn to cancel: bob is idle."}


@pytest.mark.long
async def test_a_turn_whose_requests_are_refused_is_cancelled(harness: Harness, hive: Hive) -> None:
    number = await hive.push("never up")
    await harness.start(retries=5)
    await hive.until(lambda: hive.state == "rate-limited" and hive.reports[-1]["in_turn"])
    text, _ = await cancelled(hive)
    assert "0 calls of tools, while the model's API refused its requests" in text
    assert hive.cancelled == [number]


@pytest.mark.long
async def test_what_waits_for_the_next_try_is_cancelled(harness: Harness, hive: Hive) -> None:
    number = await hive.push("bad key")
    await harness.start()
    await hive.until(lambda: hive.state == "needs-login")
    answer = await hive.command("cancel")
    assert "waited for the next try" in answer["text"]
    assert hive.cancelled == [number]


async def test_an_urgent_message_reaches_the_running_turn(
    harness: Harness, hive: Hive, requests: Requests
) -> None:
    await harness.start()
    number = await harness.waiting_for("wait for go")
    urgent = await hive.push("by the way, it rains", urgent=True)
    await hive.push("hello")
    await hive.until(lambda: bool(harness.events("urgent")))
    assert hive.acknowledged == []
    (harness.state / "go").touch()
    await hive.until(lambda: len(hive.acknowledged) == 3)
    assert hive.acknowledged[:2] == [number, urgent]
    assert [message["body"] for message in hive.sent] == ["waiting", "noted", "over"]
    turns = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns")
    assert turns == [("done",), ("done",)]
    prompt = harness.events("urgent")[0]["prompt"]
    assert 'from="operator"' in prompt
    assert "by the way, it rains\n</message-" in prompt


@pytest.mark.long
async def test_a_turn_takes_few_urgent_messages_of_agents(harness: Harness, hive: Hive) -> None:
    await harness.start()
    number = await harness.waiting_for("wait for go")
    flood = []
    for _ in range(12):
        flood.append(await hive.push("by the way, it rains", "alice", urgent=True))
        await hive.until(lambda: not hive.queued)
    last = await hive.push("by the way, it is late", urgent=True)
    await hive.until(lambda: not hive.queued)
    (harness.state / "go").touch()
    await hive.until(lambda: len(hive.acknowledged) == 14)
    assert hive.acknowledged == [number, *flood[:10], last, *flood[10:]]
    assert len(harness.events("wake")) == 2
    assert hive.called("release") == 0


@pytest.mark.long
async def test_an_urgent_message_interrupts(harness: Harness, hive: Hive) -> None:
    await harness.start()
    number = await harness.waiting_for("work")
    urgent = await hive.push("stop now", urgent=True, interrupt=True)
    await hive.until(lambda: len(hive.acknowledged) == 2)
    assert hive.acknowledged == [number, urgent]
    assert hive.sent[-1]["body"] == "stopped"
    turns = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome FROM turns")
    assert turns == [("done",)]


@pytest.mark.long
async def test_an_urgent_message_of_an_idle_agent_is_a_turn(harness: Harness, hive: Hive) -> None:
    await harness.start()
    for _ in range(2):  # the second comes to the call that the first turn has left
        number = await hive.push("hello", urgent=True)
        await hive.until(lambda n=number: n in hive.acknowledged)  # type: ignore[misc]
    assert hive.called("release") == 0


@pytest.mark.long
async def test_an_urgent_message_survives_the_cancellation(harness: Harness, hive: Hive) -> None:
    await harness.start()
    number = await harness.waiting_for("work")
    urgent = await hive.push("by the way, it rains", urgent=True)
    await hive.until(lambda: bool(harness.events("urgent")))
    await hive.command("cancel")
    await hive.until(lambda: hive.acknowledged == [urgent])
    assert hive.cancelled == [number]
    assert hive.sent[-1]["body"] == "noted"


@pytest.mark.long
async def test_the_model_is_chosen_and_kept(
    harness: Harness, hive: Hive, requests: Requests
) -> None:
    (harness.state / "hyperhive-model").write_text("what-an-earlier-version-wrote\n")
    await harness.start(model="claude-configured-1")
    for model in ("claude-chosen-1", ""):
        for _ in range(2):
            number = await hive.push("hello")
            await hive.until(lambda n=number: n in hive.acknowledged)  # type: ignore[misc]
        answer = await hive.command("model", value=model)
        assert "From its next turn on, bob uses" in answer["text"]
        if model:
            await harness.stop()
            await harness.start(model="claude-configured-1")
    number = await hive.push("hello")
    await hive.until(lambda: number in hive.acknowledged)
    used = [request["model"] for request in requests]
    assert used == ["claude-configured-1"] * 2 + ["claude-chosen-1"] * 2 + ["claude-configured-1"]
    answer = await hive.command("model", value="-x y")
    assert "'-x y' is not a valid name of a model" in answer["error"]


@pytest.mark.long
async def test_the_effort_is_chosen(harness: Harness, hive: Hive, requests: Requests) -> None:
    await harness.start()
    answer = await hive.command("effort", value="low")
    assert answer["text"] == "From its next turn on, bob uses the effort low."
    number = await hive.push("hello")
    await hive.until(lambda: number in hive.acknowledged)
    assert requests[-1]["output_config"]["effort"] == "low"
    await hive.until(lambda: hive.reports[-1].get("effort") == "low")
    answer = await hive.command("effort", value="huge")
    assert (
        answer["error"] == "'huge' is not an effort: use low, medium, high, xhigh, max or default."
    )


@pytest.mark.long
async def test_a_new_session_is_begun(harness: Harness, hive: Hive) -> None:
    await harness.start()
    number = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [number])
    session = (harness.state / "hyperhive-session-id").read_text()
    answer = await hive.command("new-session", by="manager")
    assert answer["text"] == "Now a new session begins; /state is kept."
    later = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [number, later])
    assert (harness.state / "hyperhive-session-id").read_text() != session
    assert "The manager has begun a new session" in harness.events("wake")[1]["prompt"]
    texts = [note["text"] for note in harness.events("note")]
    assert "The manager has begun a new session." in texts
    third = await hive.push("hello")
    await hive.until(lambda: hive.acknowledged == [number, later, third])
    assert "new session" not in harness.events("wake")[2]["prompt"]


@pytest.mark.long
async def test_the_context_is_compacted(harness: Harness, hive: Hive) -> None:
    await harness.start()
    await hive.until(lambda: hive.state == "idle")
    answer = await hive.command("compact")
    assert "no session yet" in answer["error"]
    long = await hive.push("hello " + "and so on " * 200)
    await hive.until(lambda: hive.acknowledged == [long])
    number = await harness.waiting_for("wait for go")
    answer = await hive.command("compact")
    assert answer["text"] == "After the turn that runs, the context is compacted."
    (harness.state / "go").touch()
    await hive.until(lambda: hive.acknowledged == [long, number])
    await hive.until(lambda: "compacting" in [report["turn_state"] for report in hive.reports])
    await hive.until(lambda: hive.state == "idle")
    [event] = harness.events("compacted")
    assert event["trigger"] == "manual"
    assert event["before"] > event["after"] > 0
    assert hive.reports[-1]["context_tokens"] == event["after"]


async def test_an_unknown_command_is_answered(harness: Harness, hive: Hive) -> None:
    await harness.start()
    await hive.until(lambda: hive.state == "idle")
    answer = await hive.command("dance")
    assert "does not know the command 'dance'" in answer["error"]
