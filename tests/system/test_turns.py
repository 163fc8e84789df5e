"""Turns in a real container: cancelled, killed again and again, begun with broken files."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

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

GROUP = "/sys/fs/cgroup/system.slice/hive-harness.service"
CLAUDE = "/var/lib/hyperhive/agents/bob/claude"
ROOT = "/var/lib/hyperhive/agents/bob/root"


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Have bob idle, and with a session, before the test; running and idle afterwards."""
    until_state(swarm, "bob", "idle", "TurnState")
    yield swarm
    swarm.hivectl("restart", "bob", timeout=120)
    until_state(swarm, "bob", "idle", "TurnState")


def work(hive: Hive, seconds: float) -> int:
    """Have bob sleep for `seconds`, wait until it does, and return the message's id."""
    number = int(hivectl(hive, "send", "bob", f"sleep {seconds}")["id"])
    seen = f"timeout 60 sh -c 'until pgrep -xf \"sleep {seconds}\"; do sleep 0.05; done'"
    inside(hive, "bob", "sh", "-c", seen)
    return number


def answered(hive: Hive, seconds: float) -> None:
    """Wait for the answer that bob has slept."""
    until_told(hive, "operator", "message", f"I slept for {seconds} seconds.")


def group(hive: Hive, name: str) -> list[int]:
    """Return the processes in a control group of bob's harness."""
    done = inside(hive, "bob", "cat", f"{GROUP}/{name}/cgroup.procs")
    return [int(pid) for pid in done.stdout.split()]


def command_lines(hive: Hive) -> list[str]:
    """Return the command lines of bob's harness and of all that it has started."""
    read = "while read p; do cat /proc/$p/cmdline; echo; done"
    script = f"cat $(find {GROUP} -name cgroup.procs) | {read}"
    done = inside(hive, "bob", "sh", "-c", script, check=False)
    return [line.replace("\0", " ") for line in done.stdout.splitlines()]


def test_a_cancelled_turn_leaves_nothing(bob: Hive) -> None:
    number = work(bob, 600.5)
    text = bob.hivectl("cancel", "bob", timeout=30).stdout
    assert "sleep 600.5" in text
    until_state(bob, "bob", "idle", "TurnState")
    assert group(bob, "turn") == []
    assert len(group(bob, "claude")) == 2, "Claude Code and its relay stay"
    assert state_of(bob, number) == "cancelled"


def test_an_urgent_message_interrupts_the_turn(bob: Hive) -> None:
    number = work(bob, 600.25)
    urgent = hivectl(bob, "send", "bob", "stop now, please", "--urgent", "--interrupt")["id"]
    until_told(bob, "operator", "message", "I have stopped.")
    until_state(bob, "bob", "idle", "TurnState")
    assert (state_of(bob, number), state_of(bob, urgent)) == ("acknowledged", "acknowledged")
    assert group(bob, "turn") == []


@pytest.mark.long
def test_commands_reach_the_harness_and_survive_a_rebuild(bob: Hive) -> None:
    work(bob, 0.21)
    answered(bob, 0.21)
    until_state(bob, "bob", "idle", "TurnState")
    assert "claude-chosen-5" in bob.hivectl("model", "bob", "claude-chosen-5").stdout
    assert "low" in bob.hivectl("effort", "bob", "low").stdout
    bob.hivectl("rebuild", "bob", timeout=180)
    session = inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout
    work(bob, 0.22)
    answered(bob, 0.22)
    until_state(bob, "bob", "claude-chosen-5", "Model")
    until_state(bob, "bob", "low", "Effort")
    until_state(bob, "bob", "idle", "TurnState")
    assert inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout == session
    assert "context is compacted" in bob.hivectl("compact", "bob").stdout
    assert "new session begins" in bob.hivectl("new-session", "bob").stdout
    bob.hivectl("model", "bob", "default")
    bob.hivectl("effort", "bob", "default")
    work(bob, 0.23)
    answered(bob, 0.23)
    assert inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout != session


@pytest.mark.long
@pytest.mark.parametrize("broken", ["", '{"numStartups": 1, "ti'])
def test_a_broken_user_file_makes_no_dead_letter(bob: Hive, broken: str) -> None:
    work(bob, 0.31)
    answered(bob, 0.31)
    before = last_event(bob, "bob")
    bob.hivectl("stop", "bob", timeout=60)
    for file in (f"{CLAUDE}/.claude.json", f"{ROOT}/.claude.json"):
        bob.run("sh", "-c", f"cat > {file}", input=broken)
    bob.hivectl("start", "bob", timeout=120)
    number = int(hivectl(bob, "send", "bob", "sleep 0.32")["id"])
    answered(bob, 0.32)
    bob.until_settled(number)
    assert message(bob, number)["redeliveries"] == 0
    [note] = events(bob, "bob", "note", after=before)
    assert "/root/.claude/.claude.json was broken: it was put back" in note["data"]["text"]
    assert json.loads(bob.run("cat", f"{CLAUDE}/.claude.json").stdout)


@pytest.mark.long
def test_a_rebuild_repairs_what_claude_code_cannot_start_with(bob: Hive) -> None:
    work(bob, 0.34)
    answered(bob, 0.34)
    session = inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout
    bob.hivectl("stop", "bob", timeout=60)
    backups = f"{CLAUDE}/backups"
    bob.run("sh", "-c", f"echo '{{' > {CLAUDE}/.claude.json; rm -rf {backups}; touch {backups}")
    bob.hivectl("start", "bob", timeout=120)
    bob.hivectl("send", "bob", "sleep 0.35")
    until_state(bob, "bob", "error", "TurnState")
    shown = hivectl(bob, "status", "bob")
    assert "`hivectl rebuild bob`" in shown["turn_reason"]
    before = last_event(bob, "bob")
    assert "restarted" in bob.hivectl("rebuild", "bob", timeout=180).stdout
    answered(bob, 0.35)
    wakes = events(bob, "bob", "wake", after=before)
    told = "Your container was repaired and restarted by the operator since your last turn"
    rest = "earlier processes have ended, and this session continues."
    assert f"{told}: {rest}" in wakes[-1]["data"]["prompt"]
    assert inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout == session
    aside = inside(bob, "bob", "sh", "-c", "ls -A /root/.claude/before-rebuild-*").stdout.split()
    assert {".claude.json", "backups"} <= set(aside)
    assert "projects" not in aside


@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=pytest.mark.long)])
def test_kills_in_the_middle_of_turns_lose_nothing(
    bob: Hive, measured: Callable[[str], None], rounds: int
) -> None:
    work(bob, 0.33)
    answered(bob, 0.33)
    session = inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout
    numbers = []
    for turn in range(rounds):
        seconds = 2 + (turn + 1) / 1000
        numbers.append(work(bob, seconds))
        if turn % 2:
            victims = group(bob, "claude")[:1]
        else:
            shown = inside(
                bob, "bob", "systemctl", "show", "--value", "-p", "MainPID", "hive-harness"
            )
            victims = [int(shown.stdout)]
        inside(bob, "bob", "kill", "-KILL", *map(str, victims))
        assert state_of(bob, numbers[-1]) != "acknowledged", "it is not processed yet"
        answered(bob, seconds)
    until_state(bob, "bob", "idle", "TurnState")
    assert {state_of(bob, number) for number in numbers} == {"acknowledged"}
    assert inside(bob, "bob", "cat", "/state/hyperhive-session-id").stdout == session
    lines = command_lines(bob)
    assert len([line for line in lines if "_bundled/claude" in line]) == 1, lines
    assert len([line for line in lines if "socat" in line]) == 1, lines
    assert group(bob, "turn") == []
    measured(f"turns: {rounds} kills in the middle of a turn, nothing lost, nothing left")


def state_of(hive: Hive, number: int) -> Any:
    """Return the state of a message."""
    return message(hive, number)["state"]
