"""Turns that take too long, and a Claude Code that does not start, in a real container."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import (
    call,
    change_harness,
    configured,
    events,
    hivectl,
    inside,
    last_event,
    message,
    property_of,
    until_state,
    until_told,
)

pytestmark = pytest.mark.system

CONFIG = "turn_timeout = 10\nmax_attempts = 2\n"
FREEZE = "/sys/fs/cgroup/system.slice/hive-harness.service/claude/cgroup.freeze"
REASON = "the turn took more than 10 s"


@pytest.fixture(scope="module")
def tim(swarm: Hive) -> Iterator[Hive]:
    """Add the agent tim, whose turns are cut off soon."""
    with configured(swarm, "tim", CONFIG, {}):
        yield swarm


@pytest.mark.long
def test_a_turn_that_is_cut_off_goes_on_and_its_dead_letter_is_told(tim: Hive) -> None:
    before = last_event(tim, "tim")
    sent = call(tim, "alice", "send", to="tim", body="sleep 600.125")
    number = sent["result"]["structuredContent"]["id"]
    tim.until_settled(number, "dead")
    for reader in ("alice", "operator"):
        assert REASON in until_told(tim, reader, "dead-letter", "tim")
    first, second = (event["data"]["prompt"] for event in events(tim, "tim", "wake", after=before))
    assert "Your last turn was cut off" not in first
    assert "Your last turn was cut off because it took more than 10 s" in second
    assert 'redelivered="1 times"' in second
    assert len(events(tim, "tim", "session", after=before)) == 1, "it is the same session"
    [letter] = [one for one in hivectl(tim, "dead-letters") if one["id"] == number]
    assert letter["reason"] == REASON
    assert inside(tim, "tim", "pgrep", "-xf", "sleep 600.125", check=False).stdout == ""
    tim.hivectl("drop", str(number), "--yes")


@pytest.fixture
def hanging(tim: Hive) -> Iterator[Hive]:
    """Have each Claude Code of tim hang as soon as it starts."""
    change_harness(tim, "tim", start_timeout=3)
    until_state(tim, "tim", "idle", "TurnState")
    inside(tim, "tim", "tee", FREEZE, stdin="1")
    yield tim
    inside(tim, "tim", "tee", FREEZE, stdin="0")


@pytest.mark.long
def test_a_start_that_hangs_is_told_and_uses_nothing_up(hanging: Hive) -> None:
    before = last_event(hanging, "tim")
    number = int(hivectl(hanging, "send", "tim", "what is 6 plus 600?")["id"])
    until_state(hanging, "tim", "error", "TurnState")
    reason = property_of(hanging, "tim", "TurnReason")
    assert reason.startswith("Claude Code did not start within 3 s. `hivectl logs tim`")
    assert "`hivectl rebuild tim`" in reason
    assert hivectl(hanging, "status", "tim")["turn_reason"] == reason
    notes = events(hanging, "tim", "note", after=before)
    assert [note["data"]["level"] for note in notes] == ["error"]
    assert message(hanging, number)["state"] == "leased"
    inside(hanging, "tim", "tee", FREEZE, stdin="0")
    until_told(hanging, "operator", "message", "606")
    hanging.until_settled(number)
    assert message(hanging, number)["redeliveries"] == 0
