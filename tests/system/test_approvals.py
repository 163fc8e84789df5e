"""From the manager's commit through the operator's yes to an agent that runs with it."""

import json
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import decide, hivectl, inside, shown_commit, until_ended, until_recorded

pytestmark = pytest.mark.system

APPROVALS = ("org.hyperhive.Approvals1", "/org/hyperhive/Approvals1", "org.hyperhive.Approvals1")
GIT = "/var/lib/hyperhive/git"
CREW = ("erna", "fred")
ENDED = ("deployed", "failed", "denied", "superseded", "withdrawn")
PROPOSE = """
set -e
cd "/agents/$1"
git fetch --quiet applied
git reset --quiet --hard applied/main
cat > agent.toml
git add agent.toml
git commit --quiet --allow-empty --message "A change"
git rev-parse HEAD
"""
CLONED = """
import asyncio, pathlib, sys
from harness.inotify import DirectoryWatch

async def main():
    with DirectoryWatch(pathlib.Path("/agents")) as watch:
        while not pathlib.Path("/agents", sys.argv[1], ".git").exists():
            await watch.change()

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.fixture(scope="module")
def crew(swarm: Hive) -> Iterator[Hive]:
    """Add two agents whose repositories the manager has cloned."""
    for name in CREW:
        swarm.hivectl("spawn", name, timeout=120)
        inside(swarm, "manager", PYTHON, "-c", CLONED, name)
    yield swarm
    for name in CREW:
        swarm.hivectl("destroy", name, "--purge", "--yes", timeout=120)


def greeting(text: str) -> str:
    return f'[environment]\nGREETING = "{text}"\n'


def greets(hive: Hive, agent: str) -> str:
    """Return GREETING in the container that runs."""
    told = json.loads(inside(hive, agent, "cat", "/etc/hyperhive/harness.json").stdout)
    return str(told.get("command_environment", {}).get("GREETING", ""))


def propose(hive: Hive, agent: str, text: str) -> str:
    """Commit a configuration in the manager's container, and return the commit."""
    done = inside(hive, "manager", "sh", "-c", PROPOSE, "-", agent, stdin=text)
    return str(done.stdout.split()[-1])


def ask(hive: Hive, agent: str, commit: str) -> int:
    """Request the deploy of `commit`, and return the number of the request."""
    call = (
        "busctl",
        "call",
        *APPROVALS,
        "RequestApply",
        "sssa{sv}",
        agent,
        commit,
        "As asked",
        "0",
    )
    return int(hive.run(*call).stdout.split()[1])


def requests(hive: Hive, agent: str) -> list[dict[str, str]]:
    return [row for row in hivectl(hive, "pending", "--all") if row["agent"] == agent]


def git(hive: Hive, repository: str, *arguments: str) -> str:
    where = ("git", "-c", "safe.directory=*", "-C", f"{GIT}/{repository}")
    return hive.run(*where, *arguments).stdout.strip()


def check(hive: Hive, agent: str) -> None:
    """Check that rows, tags, `main`, meta and lifecycle agree, and that no request is open."""
    rows = requests(hive, agent)
    assert {row["state"] for row in rows} <= set(ENDED)
    refs = git(hive, f"applied/{agent}", "for-each-ref", "--format=%(refname:short)", "refs/tags")
    wanted = {"deployed/0"}
    for row in rows:
        story = ["proposal", str(row["state"])]
        if row["state"] in ("deployed", "failed"):
            story += ["approved", "building"]
        wanted |= {f"{word}/{row['id']}" for word in story}
    assert set(refs.split()) == wanted
    main = git(hive, f"applied/{agent}", "rev-parse", "main")
    deployed = [row for row in rows if row["state"] == "deployed"]
    if deployed:
        assert main == deployed[-1]["commit"]
    assert json.loads(git(hive, "meta", "show", "main:agents.json"))[agent]["commit"] == main
    assert git(hive, "meta", "status", "--porcelain") == ""
    path = f"/org/hyperhive/Lifecycle1/agent/{agent}"
    shown = ("org.hyperhive.Lifecycle1", path, "org.hyperhive.Agent1", "DeployedCommit")
    runs = hive.run("busctl", "get-property", *shown).stdout.split('"')[1]
    assert runs == main or (runs == "" and not deployed)


def test_a_commit_is_deployed_after_a_yes(crew: Hive, measured: Callable[[str], None]) -> None:
    commit = propose(crew, "erna", greeting("hello"))
    number = ask(crew, "erna", commit)
    # Our repository keeps the commit, even if the manager's repository loses it.
    inside(
        crew, "manager", "sh", "-c", "cd /agents/erna && git reset -q --hard HEAD~1 && git gc -q"
    )
    shown = crew.run("busctl", "call", *APPROVALS, "Diff", "t", str(number)).stdout
    assert "GREETING" in shown
    asked = time.monotonic()
    decide(crew, "approve", number)
    measured(f"from approve to restarted and ready: {time.monotonic() - asked:.2f} s")
    assert until_ended(crew, number)["state"] == "deployed"
    assert greets(crew, "erna") == "hello"
    check(crew, "erna")
    # The manager sees the result.
    tell = f"""
        set -e
        cd /agents/erna
        git fetch --quiet applied
        git show --quiet --format=%H applied/refs/tags/deployed/{number}
        git -C /meta log -1 --format=%s
    """
    told = inside(crew, "manager", "sh", "-c", tell).stdout.splitlines()
    assert told == [commit, "Deploy erna: As asked"]


@pytest.mark.long
def test_two_for_one_agent_and_two_agents_at_once(crew: Hive) -> None:
    first = ask(crew, "erna", propose(crew, "erna", greeting("first")))
    second = ask(crew, "erna", propose(crew, "erna", greeting("second")))
    other = ask(crew, "fred", propose(crew, "fred", greeting("other")))
    approving = [
        crew.popen("hivectl", "approve", str(number), *shown_commit(crew, number))
        for number in (first, second, other, second)
    ]
    for process in approving:
        process.communicate(timeout=120)
    ends = [until_ended(crew, number)["state"] for number in (first, second, other)]
    assert ends == ["superseded", "deployed", "deployed"]
    assert hivectl(crew, "deploy-log", "fred")[0]["approval"] == other
    assert (greets(crew, "erna"), greets(crew, "fred")) == ("second", "other")
    assert sorted(process.returncode == 0 for process in approving) == [False, False, True, True]
    for agent in CREW:
        check(crew, agent)


@pytest.mark.parametrize("after", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.long
def test_an_agent_that_crashes_meanwhile_gets_it_all_the_same(crew: Hive, after: float) -> None:
    number = ask(crew, "fred", propose(crew, "fred", greeting(f"after {after}")))
    approving = crew.popen("hivectl", "approve", str(number), *shown_commit(crew, number))
    time.sleep(after)  # when it crashes, not what is waited for
    crew.run("systemctl", "kill", "--signal=KILL", "systemd-nspawn@h-fred.service", check=False)
    approving.communicate(timeout=120)
    assert until_ended(crew, number)["state"] in ("deployed", "failed")
    check(crew, "fred")


@pytest.mark.long
def test_whenever_approvals_is_killed_all_agree_in_the_end(crew: Hive) -> None:
    chance = random.Random(7)
    for attempt in range(20):
        crew.run("systemctl", "reset-failed", "hive-approvals.service", check=False)
        number = ask(crew, "erna", propose(crew, "erna", greeting(f"attempt {attempt}")))
        approving = crew.popen("hivectl", "approve", str(number), *shown_commit(crew, number))
        time.sleep(chance.uniform(0.2, 1.6))  # when it is killed, not what is waited for
        crew.run("systemctl", "kill", "--signal=KILL", "hive-approvals.service")
        approving.communicate(timeout=120)
        if requests(crew, "erna")[-1]["state"] == "pending":  # killed before the yes arrived
            decide(crew, "approve", number)
        assert until_ended(crew, number)["state"] == "deployed"
        assert greets(crew, "erna") == f"attempt {attempt}"
        check(crew, "erna")


@pytest.mark.long
def test_a_purged_agent_leaves_no_repository(crew: Hive) -> None:
    crew.hivectl("spawn", "gone", timeout=120)
    inside(crew, "manager", PYTHON, "-c", CLONED, "gone")
    number = ask(crew, "gone", propose(crew, "gone", greeting("never")))
    crew.hivectl("destroy", "gone", "--purge", "--yes", timeout=120)
    assert until_ended(crew, number)["state"] == "withdrawn"
    until_recorded(crew, "erna")  # all changes of git are complete by then
    assert "gone" not in json.loads(git(crew, "meta", "show", "main:agents.json"))
