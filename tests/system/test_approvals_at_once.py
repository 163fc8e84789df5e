"""Approvals that meet each other, a crash, or the end of a service: each ends in a legal state."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import (
    decide,
    hivectl,
    inside,
    leader,
    shown_commit,
    until_ended,
    until_state,
)

pytestmark = pytest.mark.system

APPLIED = "/var/lib/hyperhive/git/applied"
COMMIT = """
set -e
cd /agents/"$1"
git fetch --quiet applied
git checkout --quiet --detach "${3:-applied/main}"
echo "environment.GREETING = \\"$2\\"" > agent.toml
git commit --quiet --all --message "Greet with $2"
git rev-parse HEAD
"""


def proposed(hive: Hive, name: str, greeting: str, base: str = "") -> str:
    """Commit a greeting in the manager's container, on top of what is deployed or of `base`."""
    arguments = [name, greeting, *([base] if base else [])]
    return str(inside(hive, "manager", "sh", "-c", COMMIT, "sh", *arguments).stdout.strip())


def asked(hive: Hive, name: str, commit: str) -> int:
    return int(hivectl(hive, "apply", name, commit, "-m", "Greet")["id"])


def approving(hive: Hive, number: int) -> "subprocess.Popen[str]":
    return hive.popen("hivectl", "approve", str(number), *shown_commit(hive, number), "--now")


def ended(hive: Hive, number: int) -> dict[str, Any]:
    """Wait for the end of a request, check that git agrees, and return the request."""
    row = until_ended(hive, number)
    state = row["state"]
    git = ["git", "-c", "safe.directory=*", "--git-dir", f"{APPLIED}/{row['agent']}"]
    assert f"{state}/{number}" in hive.run(*git, "tag").stdout.split()
    if state == "deployed":
        assert hive.run(*git, "rev-parse", "main").stdout.strip() == row["commit"]
    return row


def at_rest(hive: Hive, name: str, commit: str) -> None:
    """Check that the agent runs with `commit`, and that no job holds it."""
    until_state(hive, name, "running")
    status = hivectl(hive, "status", name)
    assert status["deployed_commit"] == commit
    hive.hivectl("restart", name, timeout=120)


@contextmanager
def held(hive: Hive, name: str) -> Iterator[None]:
    """Hold the builds of `name` until `go_on`; `begun` waits for one."""
    path = f"/run/systemd/system/hive-build@{name}.service.d/99-held.conf"
    hold = "+/bin/sh -c 'test -p /run/held || exit 0; echo here > /run/held; read x < /run/go'"
    hive.run("mkfifo", "/run/held", "/run/go")
    hive.run("install", "-D", "/dev/stdin", path, input=f"[Service]\nExecStartPre={hold}\n")
    hive.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        hive.run("rm", "-f", path, "/run/held", "/run/go")
        hive.run("systemctl", "daemon-reload")


def begun(hive: Hive) -> None:
    hive.run("cat", "/run/held")


def go_on(hive: Hive) -> None:
    hive.run("sh", "-c", "echo > /run/go")


def finished(process: "subprocess.Popen[str]") -> int:
    process.communicate(timeout=150)
    return process.returncode


@pytest.mark.long
def test_two_for_one_agent(swarm: Hive) -> None:
    first = proposed(swarm, "alice", "first")
    one = asked(swarm, "alice", first)
    with held(swarm, "alice"):
        approval = approving(swarm, one)
        begun(swarm)
        after = proposed(swarm, "alice", "after", first)
        two = asked(swarm, "alice", after)
        refused = decide(swarm, "approve", two, check=False)
        assert refused.returncode == Exit.CONFLICT
        go_on(swarm)
        assert finished(approval) == 0
    assert ended(swarm, one)["state"] == "deployed"
    decide(swarm, "approve", two, "--now", timeout=150)
    assert ended(swarm, two)["state"] == "deployed"
    at_rest(swarm, "alice", after)


@pytest.mark.long
def test_one_that_was_not_made_on_top_of_the_other_is_superseded(swarm: Hive) -> None:
    first, beside = proposed(swarm, "alice", "1"), proposed(swarm, "alice", "2")
    one = asked(swarm, "alice", first)
    with held(swarm, "alice"):
        approval = approving(swarm, one)
        begun(swarm)
        two = asked(swarm, "alice", beside)
        go_on(swarm)
        assert finished(approval) == 0
    assert ended(swarm, one)["state"] == "deployed"
    assert ended(swarm, two)["state"] == "superseded"
    at_rest(swarm, "alice", first)


@pytest.mark.long
def test_the_agent_crashes_meanwhile(swarm: Hive) -> None:
    commit = proposed(swarm, "alice", "crashed")
    number = asked(swarm, "alice", commit)
    with held(swarm, "alice"):
        approval = approving(swarm, number)
        begun(swarm)
        swarm.run("kill", "-9", str(leader(swarm, "alice")))
        go_on(swarm)
        assert finished(approval) == 0
    assert ended(swarm, number)["state"] == "deployed"
    at_rest(swarm, "alice", commit)


@pytest.mark.parametrize(
    "services",
    [
        pytest.param(("approvals",), marks=pytest.mark.long),
        pytest.param(("lifecycle",), marks=pytest.mark.long),
        ("approvals", "lifecycle"),
    ],
)
@pytest.mark.long
def test_a_service_is_killed_meanwhile(swarm: Hive, services: tuple[str, ...]) -> None:
    commit = proposed(swarm, "alice", f"killed-{'-'.join(services)}")
    number = asked(swarm, "alice", commit)
    with held(swarm, "alice"):
        approval = approving(swarm, number)
        begun(swarm)
        swarm.run("systemctl", "kill", "-s", "KILL", *(f"hive-{name}" for name in services))
        go_on(swarm)
        finished(approval)  # it may say that it lost the connection
        assert ended(swarm, number)["state"] == "deployed"
    at_rest(swarm, "alice", commit)


@pytest.mark.long
def test_the_whole_hive_is_stopped_meanwhile(swarm: Hive) -> None:
    commit = proposed(swarm, "alice", "stopped")
    number = asked(swarm, "alice", commit)
    with held(swarm, "alice"):
        approval = approving(swarm, number)
        begun(swarm)
        swarm.run("systemctl", "stop", "hive.target", timeout=120)
        approval.kill()
        approval.communicate()
        swarm.run("rm", "/run/held")
    swarm.run("systemctl", "start", "hive.target", timeout=120)
    assert ended(swarm, number)["state"] == "deployed"
    at_rest(swarm, "alice", commit)
    for name in ("manager", "bob"):
        until_state(swarm, name, "running")
