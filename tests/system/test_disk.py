"""Alice fills the disk: she is warned about, stopped, and told why when she is started."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import hivectl, inside, until_idle, until_state, until_told

pytestmark = pytest.mark.system

MIB = 2**20


def write(hive: Hive, mebibytes: int, name: str) -> None:
    """Write a file as alice does, without any report of her harness."""
    inside(hive, "alice", "dd", "if=/dev/zero", f"of={name}", "bs=1M", f"count={mebibytes}")


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    """Undo the limit, and what alice writes."""
    yield swarm
    until_idle(swarm)
    swarm.run("rm", "-f", "/var/lib/hyperhive/agents/alice/state/large")
    swarm.run("rm", "-f", "/var/lib/hyperhive/agents/alice/var/large")
    hivectl(swarm, "limits", "alice", "disk_max=default")
    swarm.hivectl("start", "alice", timeout=120)


@pytest.mark.long
def test_an_agent_that_fills_the_disk_is_stopped(alice: Hive) -> None:
    used = hivectl(alice, "status", "alice")["disk"]
    assert used is not None
    write(alice, 90, "/state/large")
    hivectl(alice, "limits", "alice", f"disk_max={used + 100 * MIB}")
    warning = until_told(alice, "operator", "disk-space", "alice uses")
    assert "At the limit it is stopped." in warning
    assert until_told(alice, "manager", "disk-space", "alice uses") == warning
    assert hivectl(alice, "limits", "alice")["usage"]["disk"] >= used + 90 * MIB
    # Another directory, and no event: she is found by herself.
    write(alice, 30, "/var/large")
    assert "It is stopped" in until_told(alice, "operator", "disk-space", "It is stopped")
    until_state(alice, "alice", "stopped")
    until_idle(alice)
    refused = alice.hivectl("start", "alice", check=False, timeout=120)
    assert refused.returncode != 0
    assert "alice is not started: alice uses" in refused.stderr
    hivectl(alice, "limits", "alice", "disk_max=1G")
    alice.hivectl("start", "alice", timeout=120)
    assert hivectl(alice, "status", "alice")["state"] == "running"
