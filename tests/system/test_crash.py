"""Killed processes are noticed at once, and no message is lost."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, leader, probe, property_of

pytestmark = pytest.mark.system


def crashes(hive: Hive) -> list[str]:
    return [
        m["body"] for m in hivectl(hive, "history", "--to", "manager", "--kind", "container-crash")
    ]


def state(hive: Hive, agent: str) -> str:
    return str(hivectl(hive, "status", agent)["state"])


def test_a_killed_container_is_in_the_managers_inbox_with_its_cause(
    swarm: Hive, measured: Callable[[str], None]
) -> None:
    # Not alice, who may be starting: her processes would take their time to end.
    swarm.hivectl("start", "bob")
    told = probe(swarm, "crash_latency", "bob")
    measured(f"kill -9 of a container's init to the manager's inbox: {told['ms']} ms")
    assert told["ms"] < 1000
    assert "bob" in told["body"]
    assert "signal" in told["body"] or "KILL" in told["body"]
    swarm.hivectl("start", "bob")


@pytest.mark.long
def test_a_kill_by_the_operator_is_no_crash(swarm: Hive) -> None:
    swarm.hivectl("start", "alice")
    before = crashes(swarm)
    swarm.hivectl("kill", "alice")
    assert state(swarm, "alice") == "stopped"
    swarm.hivectl("start", "alice")
    # A crash after it comes later in the same queue: all that was to be told before has been.
    probe(swarm, "crash_latency", "alice")
    assert len(crashes(swarm)) == len(before) + 1
    swarm.hivectl("start", "alice")


def test_a_killed_broker_keeps_every_send_that_returned(swarm: Hive) -> None:
    outcome = probe(swarm, "thousand_sends")
    assert outcome["restarted"]
    assert len(outcome["returned"]) >= 500
    times = Counter(body for body, _redeliveries in outcome["received"])
    assert set(outcome["returned"]) <= set(times), "a send that returned was lost"
    first_time = Counter(body for body, redeliveries in outcome["received"] if redeliveries == 0)
    assert max(first_time.values()) == 1, "one was delivered twice without a redelivery count"


@pytest.mark.long
def test_a_restarted_lifecycle_adopts_what_runs_and_starts_what_should(swarm: Hive) -> None:
    pid = leader(swarm, "bob")
    swarm.hivectl("kill", "alice")
    swarm.run("systemctl", "restart", "hive-lifecycle")
    assert leader(swarm, "bob") == pid, "bob's container was restarted with lifecycle"
    assert state(swarm, "alice") == "stopped", "what the operator stopped was started"
    swarm.hivectl("start", "alice")
    assert state(swarm, "alice") == "running"


def test_machinectl_is_as_good_as_hivectl(swarm: Hive) -> None:
    swarm.hivectl("kill", "alice")
    swarm.run("machinectl", "start", "h-alice")
    assert state(swarm, "alice") == "running"
    # As for `systemctl start` of a unit that is disabled: the next start of the hive leaves it.
    assert not property_of(swarm, "alice", "Enabled")
    assert swarm.run("systemctl", "is-active", "hive-agent@alice.socket").stdout.strip() == "active"


def test_machinectl_shell_opens_a_shell_in_the_container(swarm: Hive) -> None:
    # It wants a terminal.
    shell = "machinectl --quiet shell h-alice /bin/sh -c 'cat /proc/sys/kernel/hostname'"
    shown = swarm.run("script", "--quiet", "--return", "--command", shell, "/dev/null").stdout
    assert "alice" in shown


@pytest.mark.long
def test_spawn_to_ready(swarm: Hive, measured: Callable[[str], None]) -> None:
    job = probe(swarm, "spawn_time", "fast")
    measured(f"spawn to the harness READY: {job['ms']} ms")
    assert job["result"] == "done", job
    assert job["ms"] < 15_000
    swarm.hivectl("destroy", "fast", "--purge", "--yes", timeout=120)
