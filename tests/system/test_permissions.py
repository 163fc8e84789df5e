"""Tool calls that wait for the operator, with a real harness in a real container."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.following import following
from tests.system.hive import Hive
from tests.system.inside import (
    APPLIED,
    call,
    decide,
    events,
    hivectl,
    inside,
    last_event,
    refused,
    shown,
    until_ended,
    until_state,
    wait_for_inbox,
)
from wire import names

pytestmark = pytest.mark.system

CONFIG = """
permissions = "ask"
ask_tools = ["Bash(echo:*)"] # all of them
wake_after_deploy = true
"""


@pytest.fixture(scope="module")
def pia(swarm: Hive) -> Iterator[Hive]:
    """Add the agent pia, which asks before it uses echo."""
    added = ("request-spawn", "pia", "-m", "to ask", "--config", "-")
    number = json.loads(swarm.hivectl(*added, "--json", input=CONFIG).stdout)["id"]
    decide(swarm, "approve", number, timeout=120)
    assert until_ended(swarm, number)["state"] == "deployed"
    until_state(swarm, "pia", "idle", "TurnState")
    yield swarm
    swarm.hivectl("destroy", "pia", "--purge", "--yes", timeout=120)
    swarm.run("rm", "-rf", f"{APPLIED}/pia")


def waiting(hive: Hive, command: str) -> int:
    """Have pia run a command that needs a permission; return the question's id."""
    hive.hivectl("send", "pia", f"run {command}")
    until_state(hive, "pia", "waiting", "TurnState")
    [question] = asked(hive)
    assert question["question"] == f"May I use Bash?\n\ncommand:\n    {command}"
    return int(question["id"])


def asked(hive: Hive, *options: str) -> list[dict[str, Any]]:
    """Return pia's open questions."""
    found: list[dict[str, Any]] = hivectl(hive, "questions", "--from", "pia", *options)
    return found


@pytest.mark.long
def test_a_call_waits_through_restarts_and_runs_once_allowed(pia: Hive) -> None:
    number = waiting(pia, "echo once | tee -a /state/ran")
    agent = (names.LIFECYCLE, names.agent_path("pia"), names.AGENT_INTERFACE)
    assert shown(pia, *agent, "TurnReason").startswith("waits for the operator: Bash: echo once")
    forged = call(pia, "pia", "answer", id=number, answer="Allow once")
    assert refused(forged), "only the operator answers"
    pia.hivectl("restart", "pia", timeout=120)
    until_state(pia, "pia", "waiting", "TurnState")  # the message came again, and so did the call
    pia.run("systemctl", "restart", "hive-broker")
    [question] = asked(pia)
    assert question["id"] == number
    pia.hivectl("answer", str(number), "Allow once")
    assert wait_for_inbox(pia, "I ran it", "pia")["body"] == "I ran it: once"
    until_state(pia, "pia", "idle", "TurnState")
    assert inside(pia, "pia", "cat", "/state/ran").stdout == "once\n"
    assert len(asked(pia, "--all")) == 1, "the same call is asked once"


@pytest.mark.long
def test_an_answer_to_a_stopped_agent_holds_when_it_runs_again(pia: Hive) -> None:
    number = waiting(pia, "echo late")
    pia.hivectl("stop", "pia", timeout=120)
    pia.hivectl("answer", str(number), "Allow once")
    pia.hivectl("start", "pia", timeout=120)
    assert wait_for_inbox(pia, "I ran it", "pia")["body"] == "I ran it: late"
    until_state(pia, "pia", "idle", "TurnState")
    assert asked(pia) == []


def test_a_call_is_denied_with_a_reason_and_later_always_allowed(pia: Hive) -> None:
    number = waiting(pia, "echo always")
    pia.hivectl("answer", str(number), "Deny", "Not today.")
    denied = wait_for_inbox(pia, "I ran it", "pia")["body"]
    assert denied.endswith("the operator has denied it, and says: Not today.")
    until_state(pia, "pia", "idle", "TurnState")
    before = last_event(pia, "pia")
    number = waiting(pia, "echo always")
    with following(pia, "pia") as tail:
        answered = pia.hivectl("answer", str(number), "Always allow").stdout
        assert "allows Bash(echo always) to pia and is deployed when the turn is over" in answered
        assert wait_for_inbox(pia, "I ran it", "pia")["body"] == "I ran it: always"
        request = int(answered.split("request ")[1].split()[0])
        ended = until_ended(pia, request)
        assert (ended["state"], ended["requested_by"]) == ("deployed", "operator")
        settings = json.loads(inside(pia, "pia", "cat", "/etc/hyperhive/harness.json").stdout)
        assert settings["allowed_tools"] == ["Bash(echo always)"]
        assert settings["ask_tools"] == ["Bash(echo:*)"]
        woken = tail.until("wake", "was restarted with a new configuration by the operator")
        tail.until("turn-end", "done")
    assert woken["data"]["messages"] == [], "a turn of its own"
    why = f"Question {number}: the operator always allows Bash(echo always)"
    assert why in woken["data"]["prompt"]
    seen = events(pia, "pia", "wake", "permission", "tool-result", "turn-end", after=before)
    kinds = [event["type"] for event in seen]
    # The call is answered in the turn that made it, and the deploy comes after it.
    first = ["wake", "permission", "permission", "tool-result", "tool-result", "turn-end", "wake"]
    assert kinds[:7] == first
    assert [event["data"].get("answer") for event in seen[1:3]] == [None, ["Always allow"]]
    until_state(pia, "pia", "idle", "TurnState")
    pia.hivectl("send", "pia", "run echo always")
    assert wait_for_inbox(pia, "I ran it", "pia")["body"] == "I ran it: always"
    assert asked(pia) == []
