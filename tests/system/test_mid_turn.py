"""The orders and messages of the operator in the middle of a turn, with the real Claude Code."""

import json
from collections.abc import Iterator

import pytest

from tests.system.following import following
from tests.system.hive import Hive
from tests.system.inside import (
    events,
    hivectl,
    inside,
    last_event,
    message,
    until_state,
    until_told,
)

pytestmark = pytest.mark.system

WAIT = "until [ -e /state/go ]; do timeout 0.1 tail -f /dev/null; done; echo the end"
ONCE = "test -e /state/begun && echo once more || { touch /state/begun; tail -f /state/begun; }"


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    """Have alice idle before the test and afterwards."""
    until_state(swarm, "alice", "idle", "TurnState")
    yield swarm
    inside(swarm, "alice", "rm", "-f", "/state/go", "/state/begun")
    swarm.hivectl("cancel", "alice", check=False)
    until_state(swarm, "alice", "idle", "TurnState")


def send(hive: Hive, body: str, *options: str) -> int:
    return int(hivectl(hive, "send", "alice", body, *options)["id"])


def test_an_urgent_message_reaches_the_turn_at_its_next_tool_boundary(alice: Hive) -> None:
    before = last_event(alice, "alice")
    with following(alice, "alice") as tail:
        work = send(alice, f"run {WAIT}")
        tail.until("tool-use", "/state/go")
        urgent = send(alice, "stop now", "--urgent")
        tail.until("urgent", "stop now")
        states = [message(alice, number)["state"] for number in (work, urgent)]
        assert states == ["leased", "leased"], "the call that runs is not interrupted"
        inside(alice, "alice", "touch", "/state/go")
        assert "the end" in tail.until("tool-result")["data"]["content"]
        tail.until("tool-use", "I have stopped.")
        tail.until("turn-end", "done")
    for number in (work, urgent):
        alice.until_settled(number)
    seen = events(alice, "alice", after=before)
    kinds = [event["type"] for event in seen]
    assert [kinds.count(kind) for kind in ("wake", "urgent", "turn-end")] == [1, 1, 1]
    assert "I ran it" not in json.dumps(seen)


def test_a_cancelled_turn_begins_again_with_its_message(alice: Hive) -> None:
    before = last_event(alice, "alice")
    number = send(alice, f"run {ONCE}")
    begun = "until [ -e /state/begun ]; do sleep 0.05; done"
    inside(alice, "alice", "timeout", "60", "sh", "-c", begun)
    said = alice.hivectl("cancel", "alice", "--requeue", timeout=30).stdout
    assert "tail -f /state/begun" in said
    assert "The messages were given back." in said
    until_told(alice, "operator", "message", "I ran it: once more")
    alice.until_settled(number)
    assert message(alice, number)["redeliveries"] == 1
    ends = events(alice, "alice", "turn-end", after=before)
    assert [end["data"]["outcome"] for end in ends] == ["cancelled", "done"]
    assert inside(alice, "alice", "pgrep", "-xf", "tail -f /state/begun", check=False).stdout == ""
