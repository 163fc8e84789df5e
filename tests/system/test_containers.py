"""The start and the end of a container, by hivectl, machinectl and systemctl."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, hivectl, inside, leader, probe, refused

pytestmark = pytest.mark.system

CONTAINER = "systemd-nspawn@h-alice.service"
ENDPOINT = "hive-agent@alice.service"
BROKEN = "/var/lib/hyperhive/agents/alice/etc/systemd/system/hive-harness.service.d"


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    """Start alice before and after the test."""
    swarm.hivectl("start", "alice", timeout=120)
    assert not refused(call(swarm, "alice", "list_agents"))
    yield swarm
    swarm.run("rm", "-rf", BROKEN)
    swarm.hivectl("start", "alice", timeout=120)


@pytest.mark.parametrize("command", ["machinectl poweroff h-alice", f"systemctl stop {CONTAINER}"])
def test_a_stopped_containers_endpoint_ends_too(alice: Hive, command: str) -> None:
    probe(alice, "until_inactive", ENDPOINT, *command.split())


@pytest.mark.long
def test_a_stop_in_the_middle_of_a_start_takes_no_time_limit(alice: Hive) -> None:
    alice.hivectl("stop", "alice")
    # An init that is this young does not hear the order to stop.
    took = probe(alice, "stop_while_starting", "alice")
    assert took["ms"] < 10_000, took
    assert alice.run("systemctl", "is-failed", CONTAINER, check=False).stdout.strip() == "inactive"


def test_a_killed_harness_comes_back_in_its_container(alice: Hive) -> None:
    before = leader(alice, "alice")
    inside(alice, "alice", "systemctl", "kill", "--signal=KILL", "hive-harness.service")
    # RestartSec= is over when its next start has begun; `start` waits for the end of that.
    inside(alice, "alice", "systemctl", "start", "hive-harness.service")
    assert leader(alice, "alice") == before, "its container ended with the harness"
    assert hivectl(alice, "status", "alice")["state"] == "running"


@pytest.mark.long
def test_a_harness_that_does_not_start_is_no_good_start(alice: Hive) -> None:
    alice.hivectl("stop", "alice")
    unit = "[Service]\nExecStart=\nExecStart=/bin/false\n"
    alice.run("install", "-D", "-m", "644", "/dev/stdin", f"{BROKEN}/broken.conf", input=unit)
    done = alice.hivectl("start", "alice", check=False, timeout=120)
    assert done.returncode != 0, "a start without a harness was told to be fine"
    assert "h-alice" in done.stderr
    assert hivectl(alice, "status", "alice")["state"] == "stopped"
