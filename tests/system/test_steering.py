"""The states and the steering of an agent, with a real harness in a real container."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import (
    call,
    events,
    hivectl,
    inside,
    last_event,
    until_active,
    until_state,
    wait_for_inbox,
)
from wire import names

pytestmark = pytest.mark.system


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Have bob idle before the test and afterwards."""
    until_state(swarm, "bob", "idle", "TurnState")
    yield swarm
    swarm.hivectl("restart", "bob", timeout=120)
    until_state(swarm, "bob", "idle", "TurnState")


def status(hive: Hive) -> Any:
    return hivectl(hive, "status", "bob")


@pytest.mark.long
def test_a_harness_that_does_not_run_is_away(bob: Hive) -> None:
    inside(bob, "bob", "systemctl", "stop", "hive-harness")
    until_state(bob, "bob", "harness-away", "TurnState")
    shown = status(bob)
    assert (shown["state"], shown["help"]) == (
        "running",
        "`hivectl restart bob` starts its harness again",
    )
    assert shown["last_lines"]
    refused = bob.hivectl("cancel", "bob", check=False)
    assert refused.returncode == Exit.UNAVAILABLE
    assert "not connected" in refused.stderr
    inside(bob, "bob", "systemctl", "start", "hive-harness")
    until_state(bob, "bob", "idle", "TurnState")


def kill_lifecycle(hive: Hive) -> None:
    """Kill lifecycle, and wait until it runs again."""
    shown = ("systemctl", "show", "--value", "-p", "InvocationID", "hive-lifecycle")
    invocation = hive.run(*shown).stdout.strip()
    hive.run("systemctl", "kill", "-s", "KILL", "hive-lifecycle")
    until_active(hive, "hive-lifecycle.service", invocation)


@pytest.mark.long
def test_a_restart_of_lifecycle_changes_no_turn_state(bob: Hive) -> None:
    bob.until_settled(hivectl(bob, "send", "bob", "say hello")["id"])
    until_state(bob, "bob", "idle", "TurnState")
    before = status(bob)
    assert before["context_tokens"] > 0
    kill_lifecycle(bob)
    after = status(bob)
    kept = ("turn_state", "turn_since", "context_tokens", "model", "logged_in")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    bob.hivectl("stop", "bob", timeout=120)
    assert status(bob)["context_tokens"] == before["context_tokens"]
    bob.hivectl("start", "bob", timeout=120)
    until_state(bob, "bob", "idle", "TurnState")
    assert status(bob)["context_tokens"] == before["context_tokens"]


@pytest.mark.long
def test_a_restart_is_told_to_the_agent(bob: Hive) -> None:
    bob.until_settled(int(hivectl(bob, "send", "bob", "sleep 0.15")["id"]))
    bob.hivectl("restart", "bob", timeout=120)
    before = last_event(bob, "bob")
    bob.until_settled(int(hivectl(bob, "send", "bob", "sleep 0.16")["id"]))
    [wake] = events(bob, "bob", "wake", after=before)
    prompt = wake["data"]["prompt"]
    assert prompt.startswith("Your container was restarted by the operator since your last turn: ")
    assert "and this session continues. Your notes and files are in /state." in prompt
    told = json.loads(inside(bob, "bob", "cat", "/etc/hyperhive/harness.json").stdout)["started"]
    assert (told["verb"], told["by"]) == ("restart", "operator")


@pytest.mark.long
def test_another_endpoint_hears_no_command(bob: Hive) -> None:
    """Any agent's endpoint may subscribe to the signal; lifecycle sends it to one connection."""
    until_state(bob, "alice", "idle", "TurnState")
    watch = f"type='signal',interface='{names.AGENT_INTERFACE}',member='CommandIssued'"
    user = ("setpriv", "--reuid=hive-agents", "--regid=hive-agents", "--clear-groups")
    heard = bob.popen(*user, "timeout", "12", "dbus-monitor", "--system", watch)
    bob.hivectl("compact", "bob", check=False, timeout=60)
    output, _ = heard.communicate(timeout=60)
    assert "member=CommandIssued" not in output


@pytest.mark.long
def test_a_held_agent_is_shown_as_held(bob: Hive) -> None:
    broker = (names.BROKER, names.BROKER_PATH, names.BROKER)
    bob.call(*broker, "Hold", signature="ss", arguments=["bob", "wait for me"])
    until_state(bob, "bob", "held", "TurnState")
    try:
        assert status(bob)["turn_reason"] == "wait for me"
        bob.run("systemctl", "restart", "hive-lifecycle")
        until_state(bob, "bob", "held", "TurnState")
    finally:
        bob.call(*broker, "Unhold", signature="s", arguments=["bob"])
    until_state(bob, "bob", "idle", "TurnState")


def test_a_limit_that_an_agent_reports_is_told_to_the_operator(bob: Hive) -> None:
    until = int(time.time()) + 3
    call(bob, "bob", "report", client="hyperhive-harness", provider_limit_until=until)
    bob.until_message("operator", "provider-limit", "bob has reached a usage limit")


@pytest.mark.long
def test_a_limit_holds_the_others_with_the_same_credentials(bob: Hive) -> None:
    until_state(bob, "alice", "idle", "TurnState")
    limit = int(time.time()) + 3600
    call(bob, "alice", "report", client="hyperhive-harness", provider_limit_until=limit)
    try:
        for name in ("alice", "bob"):
            until_state(bob, name, "rate-limited", "TurnState")
        bob.hivectl("send", "bob", "sleep 0.1")
        before = status(bob)
        kill_lifecycle(bob)
        bob.hivectl("restart", "bob", timeout=120)
        until_state(bob, "bob", "rate-limited", "TurnState")
        assert status(bob)["turn_until"] == before["turn_until"]
    finally:
        lifted = hivectl(bob, "lift-limits")["agents"]
    assert lifted == ["alice", "bob", "manager"]
    for name in ("alice", "bob", "manager"):
        until_state(bob, name, "idle", "TurnState")
    assert wait_for_inbox(bob, "I slept for 0.1 seconds", "bob")


def test_a_turn_is_cancelled_from_the_command_line(bob: Hive) -> None:
    idle = bob.hivectl("cancel", "bob", check=False)
    assert idle.returncode == Exit.CONFLICT
    bob.hivectl("send", "bob", "sleep 300")
    until_state(bob, "bob", "thinking", "TurnState")
    began = time.monotonic()
    assert hivectl(bob, "cancel", "bob")["text"]
    until_state(bob, "bob", "idle", "TurnState")
    assert time.monotonic() - began < 10


@pytest.mark.long
def test_a_model_is_kept_over_a_restart(bob: Hive) -> None:
    bob.hivectl("model", "bob", "claude-other-1")
    try:
        bob.hivectl("restart", "bob", timeout=120)
        bob.hivectl("send", "bob", "sleep 0.2")
        until_state(bob, "bob", "claude-other-1", "Model")
        assert bob.hivectl("model", "bob").stdout == "claude-other-1\n"
    finally:
        bob.hivectl("model", "bob", "default")
