"""Slices, and the order in which processes are killed when memory runs out."""

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside, wait_for_inbox

pytestmark = pytest.mark.system

SERVICES = [
    "hive-broker",
    "hive-lifecycle",
    "hive-approvals",
    "hive-dashboard",
    "hive-ledger",
    "hive-projects",
]
AGENTS = "/hive.slice/hive-agents.slice"
CAP_SYS_RESOURCE = 24


def shown(hive: Hive, unit: str) -> dict[str, str]:
    """Return the control group of a unit, and its settings for a lack of memory."""
    wanted = "--property=ControlGroup,ManagedOOMPreference,OOMScoreAdjust"
    lines = hive.run("systemctl", "show", wanted, unit).stdout.splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_apart_from_the_agents_and_ends_after_them(swarm: Hive, service: str) -> None:
    assert shown(swarm, f"{service}.service") == {
        "ControlGroup": f"/hive.slice/hive-services.slice/{service}.service",
        "ManagedOOMPreference": "avoid",
        "OOMScoreAdjust": "-500",
    }


def test_agents_have_a_group_each_and_end_before_the_services(swarm: Hive) -> None:
    for agent in ("alice", "bob"):
        unit = f"systemd-nspawn@h-{agent}.service"
        assert shown(swarm, unit)["ControlGroup"] == f"{AGENTS}/{unit}"
        pids = f"$(cat /sys/fs/cgroup{AGENTS}/{unit}/*/*/cgroup.procs)"
        script = f"for pid in {pids}; do cat /proc/$pid/oom_score_adj; done"
        scores = swarm.run("sh", "-c", script).stdout.split()
        assert scores
        assert {int(score) for score in scores} == {300}


def test_an_agent_cannot_make_itself_the_last_to_end(swarm: Hive) -> None:
    line = swarm.run("grep", "CapEff", "/proc/1/status").stdout
    if not int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1:
        pytest.skip("without CAP_SYS_RESOURCE the sandbox's systemd cannot set a least score")
    script = "echo 299 > /proc/self/oom_score_adj"
    tried = ["systemd-run", "--wait", "--quiet", "sh", "-c", script]
    assert inside(swarm, "alice", *tried, check=False).returncode != 0


@pytest.mark.long
def test_what_a_turn_leaves_running_ends_with_it(swarm: Hive) -> None:
    def left() -> set[str]:
        lines = inside(swarm, "alice", "pgrep", "-a", "sleep", check=False).stdout.splitlines()
        return {line.split()[-1] for line in lines}

    inside(swarm, "alice", "pkill", "sleep", check=False)
    for turn in ("once", "again"):  # the second is of the same Claude Code
        swarm.hivectl("send", "alice", f"leave something running, {turn}")
        assert "hive-harness.service/turn" in wait_for_inbox(swarm, "It runs.")["body"]
        # Turns follow one another: when this one is answered, the one before is over.
        swarm.hivectl("send", "alice", f"what are six times seven, {turn}?")
        wait_for_inbox(swarm, "42", "alice")
        assert left() == {"86403"}, "only what the container's systemd has started may stay"
    inside(swarm, "alice", "pkill", "sleep")
