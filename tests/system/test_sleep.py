"""Sleep, waking, and a boot of the host, on real units."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.system.hive import AGENTS, Hive
from tests.system.inside import call, hivectl, probe, refused, until_asleep, until_state

pytestmark = pytest.mark.system

CONFIG = "/etc/hyperhive/hyperhive.toml"


@contextmanager
def settings(hive: Hive, *changes: tuple[str, str]) -> Iterator[None]:
    """Replace parts of the configuration while the block runs."""
    before = after = hive.run("cat", CONFIG).stdout
    for old, new in changes:
        after = after.replace(old, new) if old else f"{after}\n{new}\n"
    assert after != before
    configure(hive, after)
    try:
        yield
    finally:
        configure(hive, before)


def configure(hive: Hive, text: str) -> None:
    hive.run("tee", CONFIG, input=text)
    hive.run("systemctl", "restart", "hive-lifecycle.service")


@pytest.fixture
def sleepy(swarm: Hive) -> Iterator[Hive]:
    """Make bob fall asleep after two idle seconds."""
    swarm.hivectl("start", "bob", timeout=120)
    try:
        with settings(swarm, ("", "[lifecycle.agents.bob]\nsleep_after = 2")):
            yield swarm
    finally:
        # He may be falling asleep just then: no start comes between.
        if swarm.hivectl("start", "bob", check=False, timeout=120).returncode:
            until_asleep(swarm, "bob")
            swarm.hivectl("start", "bob", timeout=120)


def state(hive: Hive, agent: str) -> str:
    return str(hivectl(hive, "status", agent)["state"])


def runs(hive: Hive, agent: str) -> list[str]:
    """Return the active units of `agent`, without slices."""
    units = [f"systemd-nspawn@h-{agent}.service", f"hive-agent@{agent}.*"]
    listing = ["systemctl", "list-units", "--plain", "--no-legend"]
    active = hive.run(*listing, "--state=active,activating,deactivating", *units).stdout
    return [line.split()[0] for line in active.splitlines()]


def told(hive: Hive, kind: str) -> int:
    return len(hivectl(hive, "history", "--to", "manager", "--kind", kind))


def test_an_idle_agent_sleeps_and_uses_nothing(sleepy: Hive) -> None:
    before = told(sleepy, "container-crash")
    until_asleep(sleepy, "bob")
    shown = hivectl(sleepy, "status", "bob")
    assert (shown["state"], shown["enabled"]) == ("sleeping", True)
    assert runs(sleepy, "bob") == []
    assert sleepy.run("machinectl", "show", "h-bob", check=False).returncode
    assert told(sleepy, "container-crash") == before


@pytest.mark.parametrize("member", ["Send", "Ask"])
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


def test_what_is_said_while_it_falls_asleep_wakes_it(sleepy: Hive) -> None:
    assert probe(sleepy, "wake_time", "bob", "stopping", "Send")["ms"] < 20_000


def test_a_reminder_that_is_due_wakes_it(sleepy: Hive) -> None:
    # Longer than it takes to fall asleep, and within what the probe waits for.
    answer = call(sleepy, "bob", "remind", text="look again", after_seconds=15)
    assert not refused(answer), answer
    until_asleep(sleepy, "bob")
    until_state(sleepy, "bob", "running")
    [reminder] = hivectl(sleepy, "history", "--to", "bob", "--kind", "reminder", "--limit", "1")
    assert "look again" in reminder["body"]


def test_what_came_while_lifecycle_was_down_wakes_it(sleepy: Hive) -> None:
    until_asleep(sleepy, "bob")
    sleepy.run("systemctl", "stop", "hive-lifecycle.service")
    broker = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]
    sleepy.run("busctl", "call", *broker, "Send", "ssa{sv}", "bob", "are you up?", "0")
    sleepy.run("systemctl", "start", "hive-lifecycle.service")
    until_state(sleepy, "bob", "running")


def test_who_was_stopped_stays_so(sleepy: Hive) -> None:
    until_asleep(sleepy, "bob")
    sleepy.hivectl("kill", "bob")
    assert state(sleepy, "bob") == "stopped"
    sleepy.hivectl("send", "bob", "are you up?")
    sleepy.run("systemctl", "restart", "hive-lifecycle.service")
    assert state(sleepy, "bob") == "stopped"
    assert runs(sleepy, "bob") == []


def test_after_a_boot_of_the_host_all_are_as_they_were(sleepy: Hive) -> None:
    sleepy.hivectl("kill", "alice")
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


def test_the_manager_is_made_when_there_is_none(swarm: Hive) -> None:
    swarm.hivectl("destroy", "manager", "--purge", "--yes", timeout=120)
    try:
        with settings(swarm, ("create_manager = false", "create_manager = true")):
            until_state(swarm, "manager", "running")
    finally:
        swarm.start(*AGENTS)
