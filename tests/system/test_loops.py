"""Loops, holds, urgent messages, and messages that nobody gets, with real agents in containers."""

import json
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import call, hivectl, inside, until_state, until_told, wait_for_inbox
from wire.records.broker import MessageState

pytestmark = pytest.mark.system

TRIES = 6


def state_of(hive: Hive, number: int) -> Any:
    [message] = [m for m in hivectl(hive, "history", "--limit", "1000") if m["id"] == number]
    return message["state"]


@pytest.mark.long
def test_agents_that_thank_each_other_are_held_until_the_operator_decides(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "play thanks with bob")
    for name in ("alice", "bob"):
        until_state(swarm, name, "held", "TurnState")
    holds = hivectl(swarm, "holds")
    assert {(hold["agent"], hold["kind"]) for hold in holds} == {("alice", "loop"), ("bob", "loop")}
    assert "wrote each other the same text 20 times within 10 minutes" in holds[0]["reason"]
    thanks = [m for m in hivectl(swarm, "history", "--limit", "200") if m["body"] == "Thanks!"]
    assert len(thanks) == 20
    [question] = hivectl(swarm, "questions", "--from", "system")
    assert question["choices"] == ["let them go on", "keep them held"]
    refused = call(swarm, "alice", "send", to="bob", body="Thanks!")["result"]
    assert refused["isError"] is True
    assert f"(question {question['id']})" in refused["content"][0]["text"]
    number = int(hivectl(swarm, "send", "bob", "It waits.")["id"])
    shown = hivectl(swarm, "status", "bob")
    assert shown["turn_state"] == "held"
    assert "the same text 20 times" in shown["turn_reason"]
    assert state_of(swarm, number) == MessageState.QUEUED
    for name in ("alice", "bob"):
        swarm.hivectl("purge-inbox", name, "--yes")
    swarm.hivectl("answer", str(question["id"]), "let them go on")
    for name in ("alice", "bob"):
        until_state(swarm, name, "idle", "TurnState")
    assert hivectl(swarm, "holds") == []
    assert "42" in swarm.hivectl("ask", "bob", "What is six times seven?", "--wait", "60").stdout


@pytest.mark.long
def test_a_held_agent_gets_the_urgent_message_of_the_operator_alone(swarm: Hive) -> None:
    swarm.hivectl("hold", "bob", "for a test")
    try:
        until_state(swarm, "bob", "held", "TurnState")
        waits = int(hivectl(swarm, "send", "bob", "what is 600 plus 13?")["id"])
        back = int(hivectl(swarm, "send", "bob", "taken back")["id"])
        swarm.hivectl("unsend", str(back))
        assert state_of(swarm, back) == MessageState.RETRACTED
        swarm.hivectl("send", "bob", "what is 500 plus 21?", "--urgent")
        wait_for_inbox(swarm, "521", "bob")
        assert state_of(swarm, waits) == MessageState.QUEUED
    finally:
        swarm.hivectl("unhold", "bob")
    wait_for_inbox(swarm, "613", "bob")
    assert state_of(swarm, back) == MessageState.RETRACTED
    late = swarm.hivectl("unsend", str(waits), check=False)
    assert late.returncode == Exit.CONFLICT


def test_an_urgent_message_interrupts_the_tool_call_that_runs(swarm: Hive) -> None:
    swarm.hivectl("send", "bob", "sleep 120")
    inside(swarm, "bob", "timeout", "30", "sh", "-c", "until pgrep -x sleep; do sleep 0.1; done")
    late = swarm.hivectl("unsend", last_sent(swarm, "bob"), check=False)
    assert late.returncode == Exit.CONFLICT
    assert "`hivectl cancel bob`" in late.stderr
    swarm.hivectl("send", "bob", "stop now", "--urgent", "--interrupt")
    assert wait_for_inbox(swarm, "I have stopped", "bob")
    assert inside(swarm, "bob", "pgrep", "-x", "sleep", check=False).stdout == ""


def last_sent(hive: Hive, to: str) -> str:
    return str(hivectl(hive, "history", "--from", "operator", "--to", to)[-1]["id"])


def test_the_sender_and_the_operator_are_told_of_a_dead_letter(swarm: Hive) -> None:
    swarm.hivectl("inbox", "--ack")
    before = [message["id"] for message in hivectl(swarm, "dead-letters")]
    inside(swarm, "bob", "systemctl", "stop", "hive-harness")
    try:
        sent = call(swarm, "alice", "send", to="bob", body="nobody reads this")
        number = sent["result"]["structuredContent"]["id"]
        for _ in range(TRIES):
            got = call(swarm, "bob", "recv", client="hyperhive-harness", wait_seconds=20)
            assert str(number) in json.dumps(got["result"])
        told = until_told(swarm, "alice", "dead-letter", "nobody reads this")
        assert told.startswith(f"Your message {number} to bob was given up")
        mine = wait_for_inbox(swarm, "1 message to bob could not be delivered", "system")
        assert mine["kind"] == "dead-letter"
        assert [m["id"] for m in hivectl(swarm, "dead-letters")] == [*before, number]
        swarm.hivectl("drop", str(number), "--yes")
    finally:
        inside(swarm, "bob", "systemctl", "start", "hive-harness")
        until_state(swarm, "bob", "idle", "TurnState")
