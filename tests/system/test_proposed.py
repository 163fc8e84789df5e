"""The manager's working copies of the configurations, which other agents cannot see."""

import subprocess
from collections.abc import Iterator
from threading import Timer

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def manager(swarm: Hive) -> Iterator[Hive]:
    """Spawn erin, and wait for the manager's working copy of her configuration."""
    swarm.hivectl("spawn", "erin", timeout=120)
    following = swarm.popen("hivectl", "logs", "manager", "-f", "-n", "100000")
    assert following.stdout is not None
    limit = Timer(60, following.kill)
    limit.start()
    try:
        assert any("configuration of erin is in /agents" in line for line in following.stdout)
    finally:
        limit.cancel()
        following.kill()
        following.communicate(timeout=30)
    yield swarm
    swarm.hivectl("destroy", "erin", "--purge", "--yes", timeout=120)


def git(hive: Hive, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run git in the manager's working copy of erin's configuration."""
    done = inside(hive, "manager", "git", "-C", "/agents/erin", *arguments, check=check)
    assert isinstance(done, subprocess.CompletedProcess)
    return done


def test_what_is_deployed_can_be_fetched_and_shown(manager: Hive) -> None:
    git(manager, "fetch", "applied")
    shown = git(manager, "show", "applied/refs/tags/deployed/0:agent.toml").stdout
    assert shown.startswith("# The configuration of this agent")
    assert git(manager, "show", "main:agent.toml").stdout == shown
    log = inside(manager, "manager", "git", "-C", "/meta", "log", "--format=%s").stdout
    assert "Deploy erin: " in log
    assert git(manager, "config", "user.email").stdout == "manager@hive.invalid\n"


def test_only_proposals_can_be_written(manager: Hive) -> None:
    git(manager, "commit", "--allow-empty", "--message=mine")
    assert git(manager, "push", "applied", "main", check=False).returncode != 0
    git(manager, "reset", "--hard", "HEAD~1")
    assert "erin" in inside(manager, "manager", "cat", "/meta/agents.json").stdout
    for path in ("/applied/x", "/applied/erin/x", "/meta/x", "/meta/agents.json"):
        done = inside(manager, "manager", "sh", "-c", f"echo > {path}", check=False)
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr, done
    for mount in ("/applied", "/meta"):
        asked = ("findmnt", "--noheadings", "--output=OPTIONS", mount)
        assert inside(manager, "manager", *asked).stdout.startswith("ro,")


def test_other_agents_see_none_of_it(manager: Hive) -> None:
    for path in ("/agents", "/applied", "/meta"):
        assert inside(manager, "erin", "test", "-e", path, check=False).returncode == 1
    mounts = inside(manager, "erin", "cat", "/proc/self/mountinfo").stdout
    assert "/var/lib/hyperhive/git" not in mounts
