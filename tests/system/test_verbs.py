"""The verbs that repair, limit, pause and destroy an agent, on real units."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.system.hive import SETTINGS, UNITS, Hive
from tests.system.inside import call, hivectl, leader, probe, refused

pytestmark = pytest.mark.system

CONTAINER = "systemd-nspawn@h-bob.service"
DAMAGE = {
    "settings": f"rm {SETTINGS}/h-bob.nspawn",
    "drop-in": f"rm -r {UNITS}/{CONTAINER}.d",
    "template": "rm -r /var/lib/machines/h-bob/etc",
    "etc": "rm -r /var/lib/hyperhive/agents/bob/etc/hyperhive",
    "owner": "chown root:root /var/lib/hyperhive/agents/bob/state",
    "directory": "rm -rf /run/hyperhive/agents/bob",
}


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Start bob before the test, and start or spawn bob afterwards."""
    swarm.hivectl("start", "bob", timeout=120)
    yield swarm
    if swarm.hivectl("start", "bob", check=False, timeout=120).returncode:
        swarm.hivectl("spawn", "bob", timeout=120)


@pytest.mark.parametrize("part", DAMAGE)
def test_rebuild_restores_what_was_damaged_and_says_so(bob: Hive, part: str) -> None:
    bob.run("sh", "-c", DAMAGE[part])
    assert hivectl(bob, "rebuild", "bob")["changes"]
    assert hivectl(bob, "rebuild", "bob")["changes"] == []
    assert hivectl(bob, "status", "bob")["state"] == "running"
    assert not refused(call(bob, "bob", "list_agents"))


def test_a_rebuild_of_a_healthy_agent_changes_nothing(bob: Hive) -> None:
    before = leader(bob, "bob")
    assert hivectl(bob, "rebuild", "bob")["changes"] == []
    assert leader(bob, "bob") == before


def test_limits_hold_at_once_and_after_a_restart(bob: Hive) -> None:
    def held() -> str:
        return bob.run("systemctl", "show", "--property=TasksMax", CONTAINER).stdout.strip()

    assert held() == "TasksMax=4096"
    before = leader(bob, "bob")
    hivectl(bob, "limits", "bob", "tasks_max=512", "memory_max=512M")
    assert (held(), leader(bob, "bob")) == ("TasksMax=512", before)
    bob.hivectl("restart", "bob", timeout=120)
    assert held() == "TasksMax=512"
    hivectl(bob, "limits", "bob", "tasks_max=default", "memory_max=default")
    assert held() == "TasksMax=4096"
    assert hivectl(bob, "limits", "bob")["usage"]["cpu"] > 0


def test_a_paused_agent_gets_no_processor(bob: Hive) -> None:
    hivectl(bob, "pause", "bob")
    assert hivectl(bob, "status", "bob")["state"] == "paused"
    used = hivectl(bob, "limits", "bob")["usage"]["cpu"]
    # Its endpoint goes on: only the container is paused.
    assert not refused(call(bob, "alice", "list_agents"))
    assert hivectl(bob, "limits", "bob")["usage"]["cpu"] == used
    hivectl(bob, "resume", "bob")
    assert hivectl(bob, "status", "bob")["state"] == "running"
    hivectl(bob, "pause", "bob")
    bob.hivectl("stop", "bob", timeout=60)
    assert hivectl(bob, "status", "bob")["state"] == "stopped"


def test_a_kill_ends_an_agent_at_once_and_a_crash_is_counted(bob: Hive) -> None:
    bob.hivectl("kill", "bob", timeout=60)
    told = bob.run("systemctl", "show", "--property=ActiveState,Result", CONTAINER).stdout.split()
    assert sorted(told) == ["ActiveState=inactive", "Result=success"]
    assert (hivectl(bob, "status", "bob")["state"]) == "stopped"
    bob.hivectl("start", "bob", timeout=120)
    assert hivectl(bob, "status", "bob")["crashes"] == 0
    probe(bob, "crash_latency", "bob")
    assert hivectl(bob, "status", "bob")["crashes"] == 1


def test_what_is_kept_of_a_destroyed_agent_comes_back_or_goes_for_good(bob: Hive) -> None:
    state = "/var/lib/hyperhive/agents/bob/state"
    bob.run("sh", "-c", f"echo remember > {state}/note")
    bob.hivectl("destroy", "bob", "--yes", timeout=120)
    [tombstone] = hivectl(bob, "tombstones")
    assert tombstone["name"] == "bob"
    assert tombstone["bytes"] > 0
    bob.hivectl("spawn", "bob", timeout=120)
    assert bob.run("cat", f"{state}/note").stdout == "remember\n"
    assert hivectl(bob, "tombstones") == []
    bob.hivectl("destroy", "bob", "--yes", timeout=120)
    bob.hivectl("purge", "bob", "--yes", timeout=120)
    assert hivectl(bob, "tombstones") == []
    assert bob.run("test", "-e", state, check=False).returncode


@pytest.mark.parametrize(
    "verb",
    [
        "restart",
        *(
            pytest.param(verb, marks=pytest.mark.long)
            for verb in ("kill", "start", "rebuild", "update")
        ),
    ],
)
def test_a_job_outlives_lifecycle(bob: Hive, verb: str) -> None:
    if verb == "start":
        bob.hivectl("stop", "bob", timeout=60)
    running = bob.popen("hivectl", verb, "bob", "--json")
    killed = bob.run("systemctl", "kill", "--signal=KILL", "hive-lifecycle.service", check=False)
    assert killed.returncode == 0
    out, err = running.communicate(timeout=120)
    # Killed before the order came, lifecycle was waited for; or its end went untold.
    assert running.returncode in (0, 5), (running.returncode, err)
    if running.returncode == 0:
        assert json.loads(out)["result"] == "done"
    jobs = bob.run("busctl", "tree", "--list", "org.hyperhive.Lifecycle1").stdout
    assert not re.search(r"/job/\d", jobs)
    assert hivectl(bob, "status", "bob")["state"] == ("stopped" if verb == "kill" else "running")
