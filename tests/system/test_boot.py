"""A host that lost its power, and boots again."""

import pytest

from sandbox.instance import Instance, kill
from tests.system.hive import AGENTS, Hive
from tests.system.inside import hivectl, probe, until_state, wait_for_inbox

pytestmark = pytest.mark.system


def cut_the_power(hive: Hive) -> None:
    """Kill everything in the host at once, and keep its disks."""
    init = Instance(hive.name).init()
    assert init is not None
    kill(init)
    hive.stop("--keep")


@pytest.mark.long
def test_what_was_leased_when_the_power_failed_is_handed_out_again(swarm: Hive) -> None:
    number = probe(swarm, "deliver", "alice", "sleep 8")["id"]
    [before] = hivectl(swarm, "history", "--to", "alice", "--state", "leased")
    assert (before["id"], before["redeliveries"]) == (number, 0)
    cut_the_power(swarm)
    try:
        swarm.start()
        wait_for_inbox(swarm, "I slept for 8 seconds.")
        after = hivectl(swarm, "history", "--to", "alice")[-1]
        assert (after["id"], after["redeliveries"]) == (number, 1)
        until_state(swarm, "manager", "running")
    finally:
        swarm.start(*AGENTS)
