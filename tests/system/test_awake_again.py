"""Agents that wake later, or not at all: after a reminder, a stop, a boot of the host."""

import pytest

from tests.system.hive import AGENTS, Hive
from tests.system.inside import call, hivectl, probe, refused, until_asleep, until_state
from tests.system.sleeping import runs, settings, sleepy, state, told

__all__ = ["sleepy"]

pytestmark = pytest.mark.system


@pytest.mark.long
def test_a_reminder_that_is_due_wakes_it(sleepy: Hive) -> None:
    # Longer than it takes to fall asleep, and within what the probe waits for.
    answer = call(sleepy, "bob", "remind", text="look again", after_seconds=15)
    assert not refused(answer), answer
    until_asleep(sleepy, "bob")
    until_state(sleepy, "bob", "running")
    [reminder] = hivectl(sleepy, "history", "--to", "bob", "--kind", "reminder", "--limit", "1")
    assert "look again" in reminder["body"]


@pytest.mark.long
def test_who_was_stopped_stays_so(sleepy: Hive) -> None:
    until_asleep(sleepy, "bob")
    sleepy.hivectl("stop", "bob")
    assert state(sleepy, "bob") == "stopped"
    sleepy.hivectl("send", "bob", "are you up?")
    sleepy.run("systemctl", "restart", "hive-lifecycle.service")
    assert state(sleepy, "bob") == "stopped"
    assert runs(sleepy, "bob") == []


@pytest.mark.long
def test_after_a_boot_of_the_host_all_are_as_they_were(sleepy: Hive) -> None:
    sleepy.hivectl("stop", "alice")
    until_asleep(sleepy, "bob")
    before = told(sleepy, "container-crash")
    sleepy.stop("--keep")
    try:
        sleepy.start()
        until_state(sleepy, "manager", "running")
        assert {name: state(sleepy, name) for name in AGENTS} == {
            "manager": "running", "alice": "stopped", "bob": "sleeping",
        }  # fmt: skip
        assert runs(sleepy, "bob") == runs(sleepy, "alice") == []
        assert told(sleepy, "container-crash") == before
        assert probe(sleepy, "wake_time", "bob", "sleeping", "Send")["ms"] < 20_000
    finally:
        sleepy.start(*AGENTS)


@pytest.mark.long
def test_the_manager_is_made_when_there_is_none(swarm: Hive) -> None:
    swarm.hivectl("destroy", "manager", "--purge", "--yes", timeout=120)
    try:
        with settings(swarm, ("create_manager = false", "create_manager = true")):
            until_state(swarm, "manager", "running")
    finally:
        swarm.start(*AGENTS)
