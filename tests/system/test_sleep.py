"""Sleep, and what wakes an agent at once, on real units."""

from collections.abc import Callable

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, probe, until_asleep, until_state
from tests.system.sleeping import runs, sleepy, told

__all__ = ["sleepy"]

pytestmark = pytest.mark.system


def test_an_idle_agent_sleeps_and_uses_nothing(sleepy: Hive) -> None:
    before = told(sleepy, "container-crash")
    until_asleep(sleepy, "bob")
    shown = hivectl(sleepy, "status", "bob")
    assert (shown["state"], shown["enabled"]) == ("sleeping", True)
    assert runs(sleepy, "bob") == []
    assert sleepy.run("machinectl", "show", "h-bob", check=False).returncode
    assert told(sleepy, "container-crash") == before


@pytest.mark.parametrize("member", ["Send", "Ask"])
@pytest.mark.long
def test_what_is_said_to_it_wakes_it(
    sleepy: Hive, measured: Callable[[str], None], member: str
) -> None:
    woken = probe(sleepy, "wake_time", "bob", "sleeping", member)
    measured(f"{member} to a sleeping agent, to its harness having the message: {woken['ms']} ms")
    assert woken["ms"] < 20_000
    until_asleep(sleepy, "bob")
    # A message that was released because the agent fell asleep in the middle wakes it once more.
    while hivectl(sleepy, "history", "--to", "bob", "--state", "queued"):
        until_state(sleepy, "bob", "running")
        until_asleep(sleepy, "bob")


@pytest.mark.long
def test_what_is_said_while_it_falls_asleep_wakes_it(sleepy: Hive) -> None:
    assert probe(sleepy, "wake_time", "bob", "stopping", "Send")["ms"] < 20_000


@pytest.mark.long
def test_what_came_while_lifecycle_was_down_wakes_it(sleepy: Hive) -> None:
    until_asleep(sleepy, "bob")
    sleepy.run("systemctl", "stop", "hive-lifecycle.service")
    broker = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]
    sleepy.run("busctl", "call", *broker, "Send", "ssa{sv}", "bob", "are you up?", "0")
    sleepy.run("systemctl", "start", "hive-lifecycle.service")
    until_state(sleepy, "bob", "running")
