"""Several changes at the same time, and a crash among them: each comes to an end that is one."""

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hivectl.exits import Exit
from tests.system.conftest import Hive
from tests.system.inside import hivectl, inside, leader

pytestmark = pytest.mark.system

LAST = {"deployed", "failed", "denied", "superseded", "withdrawn"}


@pytest.fixture
def crew(swarm: Hive) -> Iterator[Hive]:
    """The hive; alice and bob run before and after."""
    yield swarm
    for name in ("alice", "bob"):
        swarm.run("hivectl", "start", name, timeout=120)


def proposed(hive: Hive, name: str, value: str, base: str = "applied/main") -> str:
    """Commit a change in the manager's copy, on top of `base`; the commit."""
    script = (
        f"cd /agents/{name} && git fetch -q applied && git reset -q --hard {base} &&"
        f" printf 'environment.AT_ONCE = \"{value}\"\\n' > agent.toml &&"
        f" git commit -q -a -m 'AT_ONCE is {value}' && git rev-parse HEAD"
    )
    return str(inside(hive, "manager", "sh", "-c", script).stdout).strip()


def asked(hive: Hive, name: str, value: str) -> int:
    """A request to change `name`; its number."""
    commit = proposed(hive, name, value)
    return int(hivectl(hive, "apply", name, commit, "-m", f"AT_ONCE is {value}")["id"])


def approve(hive: Hive, number: int) -> "subprocess.CompletedProcess[str]":
    return hive.run("hivectl", "approve", str(number), "--now", check=False, timeout=300)


def request(hive: Hive, number: int) -> dict[str, Any]:
    [found] = [r for r in hivectl(hive, "pending", "--all") if r["id"] == number]
    return dict(found)


def settled(hive: Hive, name: str) -> dict[str, Any]:
    """What there is of `name`, when what runs is what the repository, meta and lifecycle say."""
    assert not [r for r in hivectl(hive, "pending") if r["agent"] == name]
    agent = dict(hivectl(hive, "status", name))
    fetch = (
        f"git -C /agents/{name} fetch -q applied && git -C /agents/{name} rev-parse applied/main"
    )
    assert inside(hive, "manager", "sh", "-c", fetch).stdout.strip() == agent["deployed_commit"]
    assert hivectl(hive, "deploy-log", name)[0]["commit"] == agent["deployed_commit"]
    assert agent["state"] == "running"
    return agent


def heard(hive: Hive, unit: str, text: str, lines: str = "all") -> None:
    """Wait until `unit` logs `text`; `lines`: of before that count, too."""
    follow = ("journalctl", "--follow", f"--lines={lines}", f"--unit={unit}", "--output=cat")
    with hive.popen("timeout", "60", *follow) as journal:
        assert journal.stdout is not None
        found = any(text in line for line in journal.stdout)
        journal.kill()
    assert found, f"{unit} never said {text!r}"


def test_two_changes_of_one_agent_are_approved_at_once(crew: Hive) -> None:
    first = asked(crew, "alice", "one")
    second = asked(crew, "alice", "two")  # takes the place of the first, which was not decided
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda number: approve(crew, number).returncode, (first, second)))
    assert ends == [Exit.CONFLICT, Exit.OK]
    assert [request(crew, n)["state"] for n in (first, second)] == ["superseded", "deployed"]
    assert settled(crew, "alice")["deployed_commit"] == request(crew, second)["commit"]


def test_one_is_asked_for_while_another_is_carried_out(crew: Hive) -> None:
    first = asked(crew, "alice", "three")
    commit = proposed(crew, "alice", "four")  # beside the first one, not on top of it
    with ThreadPoolExecutor() as pool:
        going = pool.submit(approve, crew, first)
        heard(crew, "hive-approvals", f"Request {first} for alice is building")
        asking = crew.run("hivectl", "apply", "alice", commit, "-m", "AT_ONCE is four", check=False)
        assert going.result().returncode == Exit.OK
    if asking.returncode == Exit.OK:  # it was in time; then it did not fit any more
        late = [r for r in hivectl(crew, "pending", "--all") if r["commit"] == commit]
        assert [r["state"] for r in late] == ["superseded"]
    else:
        assert asking.returncode == Exit.CONFLICT, asking.stderr
    assert settled(crew, "alice")["deployed_commit"] == request(crew, first)["commit"]


def test_changes_of_different_agents_are_carried_out_side_by_side(crew: Hive) -> None:
    numbers = [asked(crew, name, "five") for name in ("alice", "bob")]
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda number: approve(crew, number).returncode, numbers))
    assert ends == [Exit.OK, Exit.OK]
    for name, number in zip(("alice", "bob"), numbers, strict=True):
        assert settled(crew, name)["deployed_commit"] == request(crew, number)["commit"]


@pytest.mark.parametrize("moment", ["its configuration", "its container is stopped", "deploy of"])
def test_the_agent_crashes_while_it_is_changed(crew: Hive, moment: str) -> None:
    number = asked(crew, "bob", f"six-{len(moment)}")
    pid = leader(crew, "bob")
    with ThreadPoolExecutor() as pool:
        hearing = pool.submit(heard, crew, "hive-lifecycle", f"{moment}", "0")
        approving = crew.popen("hivectl", "approve", str(number), "--now")
        hearing.result()
    crew.run("kill", f"-{signal.SIGKILL}", str(pid), check=False)
    approving.communicate(timeout=300)
    ended = request(crew, number)
    assert ended["state"] in LAST
    agent = settled(crew, "bob")
    assert (ended["state"] == "deployed") == (agent["deployed_commit"] == ended["commit"])


@pytest.mark.parametrize("service", ["hive-approvals", "hive-lifecycle"])
def test_a_service_is_killed_while_an_agent_is_changed(crew: Hive, service: str) -> None:
    number = asked(crew, "bob", f"killed-{service}")
    with ThreadPoolExecutor() as pool:
        hearing = pool.submit(
            heard, crew, "hive-approvals", f"Request {number} for bob is building"
        )
        approving = crew.popen("hivectl", "approve", str(number), "--now")
        hearing.result()
    crew.run("systemctl", "kill", "--signal=KILL", service)
    heard(crew, "hive-approvals", f"Request {number} for bob is deployed")
    approving.communicate(timeout=300)
    assert settled(crew, "bob")["deployed_commit"] == request(crew, number)["commit"]
