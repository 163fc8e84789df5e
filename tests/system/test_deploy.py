"""An agent gets another configuration, on real units: built, restarted, taken back."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.system.hive import Hive
from tests.system.inside import (
    APPLIED as ALL_APPLIED,
)
from tests.system.inside import (
    commit_file,
    hivectl,
    inside,
    leader,
    probe,
    until_state,
    wait_for_inbox,
)

pytestmark = pytest.mark.system

BUILD = "hive-build@dora.service"
CONTAINER = "systemd-nspawn@h-dora.service"
APPLIED = f"{ALL_APPLIED}/dora"

# Each kills lifecycle once, at its point of a deploy. (`+`: with all rights.)
KILL = (
    "+/bin/sh -c 'rm /run/kill-once 2>/dev/null || exit 0;"
    " kill -9 $(systemctl show -p MainPID --value hive-lifecycle.service)'"
)
CANCEL = (
    "+/bin/sh -c 'systemd-run --quiet --wait busctl call org.hyperhive.Lifecycle1"
    " /org/hyperhive/Lifecycle1/job/$HIVE_JOB org.hyperhive.Job1 Cancel; sleep infinity'"
)
REFUSE = "/bin/sh -c '! grep -q broken /var/lib/hyperhive/agents/dora/etc/hyperhive/harness.json'"


@pytest.fixture(scope="module")
def dora(swarm: Hive) -> Iterator[Hive]:
    """Add the agent dora."""
    swarm.hivectl("spawn", "dora", timeout=120)
    yield swarm
    swarm.hivectl("destroy", "dora", "--purge", "--yes", timeout=120)
    swarm.run("rm", "-rf", APPLIED)


def commit(hive: Hive, text: str) -> str:
    """Commit `text` as dora's agent.toml in the applied repository."""
    return commit_file(hive, "dora", text)


def greeting(text: str) -> str:
    return f'[environment]\nGREETING = "{text}"\n'


def greets(hive: Hive) -> str:
    """Return GREETING in the container that runs."""
    told = json.loads(inside(hive, "dora", "cat", "/etc/hyperhive/harness.json").stdout)
    return str(told.get("command_environment", {}).get("GREETING", ""))


def deployed(hive: Hive) -> str:
    path = "/org/hyperhive/Lifecycle1/agent/dora"
    shown = ("org.hyperhive.Lifecycle1", path, "org.hyperhive.Agent1", "DeployedCommit")
    return hive.run("busctl", "get-property", *shown).stdout.split('"')[1]


@contextmanager
def drop_in(hive: Hive, unit: str, setting: str) -> Iterator[None]:
    """Add a setting to `unit` while the block runs."""
    path = f"/run/systemd/system/{unit}.d/99-test.conf"
    hive.run("install", "-D", "/dev/stdin", path, input=f"[Service]\n{setting}\n")
    hive.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        hive.run("rm", path)
        hive.run("systemctl", "daemon-reload")


def test_a_configuration_is_built_and_the_agent_restarted_with_it(
    dora: Hive, measured: Callable[[str], None]
) -> None:
    first = commit(dora, greeting("one"))
    before = leader(dora, "dora")
    answer = probe(dora, "deploy", "dora", first)
    measured(f"a deploy without packages, until it runs: {answer['seconds']:.2f} s")
    assert (answer["result"], answer["note"]) == ("done", "")
    assert (greets(dora), deployed(dora)) == ("one", first)
    assert leader(dora, "dora") != before
    assert dora.run("ls", "/var/lib/hyperhive/builds/dora").stdout.split() == [first]


@pytest.mark.long
def test_a_turn_is_not_interrupted(dora: Hive) -> None:
    second = commit(dora, greeting("two"))
    dora.hivectl("send", "dora", "sleep 5")
    until_state(dora, "dora", "thinking", "TurnState")
    answer = probe(dora, "deploy", "dora", second)
    assert (answer["result"], greets(dora)) == ("done", "two")
    assert wait_for_inbox(dora, "I slept for 5 seconds")["from"] == "dora"
    told = hivectl(dora, "history", "--from", "dora", "--to", "operator")
    assert len([message for message in told if "slept for 5" in message["body"]]) == 1
    asked = hivectl(dora, "history", "--to", "dora", "--from", "operator")[-1]
    assert asked["redeliveries"] == 0


@pytest.mark.long
def test_one_that_is_urgent_interrupts_it_and_nothing_is_lost(dora: Hive) -> None:
    third = commit(dora, greeting("three"))
    dora.hivectl("send", "dora", "sleep 7")
    until_state(dora, "dora", "thinking", "TurnState")
    answer = probe(dora, "deploy", "dora", third, "now")
    assert (answer["result"], greets(dora)) == ("done", "three")
    assert wait_for_inbox(dora, "I slept for 7 seconds")["from"] == "dora"


@pytest.mark.long
def test_what_a_build_prints_is_told_while_it_runs(dora: Hive) -> None:
    rule = "type='signal',interface='org.hyperhive.Job1',member='Output'"
    told, unit = "/run/told-output", "told-output.service"
    monitor = ("busctl", "--json=short", "monitor", "--match", rule)
    log = f"--property=StandardOutput=file:{told}"
    dora.run("systemd-run", "--quiet", f"--unit={unit}", log, *monitor)
    try:
        slow = "ExecStartPre=/bin/sh -c 'echo it takes a while; sleep 4'"
        with drop_in(dora, BUILD, slow):
            answer = probe(dora, "deploy", "dora", commit(dora, greeting("slow")), "now")
        assert (answer["result"], greets(dora)) == ("done", "slow")
        lines = dora.run("cat", told).stdout
    finally:
        dora.run("systemctl", "stop", unit)
        dora.run("rm", told)
    assert "dora: building the configuration at" in lines
    assert "it takes a while" in lines


def test_what_cannot_be_built_changes_nothing_and_says_why(dora: Hive) -> None:
    before = leader(dora, "dora"), deployed(dora)
    broken = commit(dora, "modle = 'm'\n")
    answer = probe(dora, "deploy", "dora", broken)
    assert answer["result"] == "failed"
    first, *log = answer["note"].splitlines()
    assert first.startswith(f"The configuration of dora at {broken[:12]} could not be built: ")
    assert "agent.toml, line 1: modle is not a known key" in first
    assert any("agent.toml, line 1: modle is not a known key" in line for line in log)
    assert (leader(dora, "dora"), deployed(dora)) == before


def test_what_does_not_come_up_is_taken_back(dora: Hive) -> None:
    good = commit(dora, greeting("good"))
    assert probe(dora, "deploy", "dora", good)["result"] == "done"
    with drop_in(dora, CONTAINER, f"ExecStartPre={REFUSE}"):
        answer = probe(dora, "deploy", "dora", commit(dora, greeting("broken")))
    assert answer["result"] == "failed"
    assert "does not start with its configuration" in answer["note"]
    assert (greets(dora), deployed(dora)) == ("good", good)
    assert hivectl(dora, "status", "dora")["state"] == "running"


@pytest.mark.parametrize(
    ("point", "unit", "setting"),
    [
        pytest.param("build", BUILD, "ExecStartPre", marks=pytest.mark.long),
        pytest.param("stop", CONTAINER, "ExecStopPost", marks=pytest.mark.long),
        ("start", CONTAINER, "ExecStartPre"),
        pytest.param("started", CONTAINER, "ExecStartPost", marks=pytest.mark.long),
    ],
)
def test_it_goes_on_when_lifecycle_is_killed(
    dora: Hive, point: str, unit: str, setting: str
) -> None:
    wanted = commit(dora, greeting(f"killed-at-{point}"))
    dora.run("touch", "/run/kill-once")
    with drop_in(dora, unit, f"{setting}={KILL}"):
        answer = probe(dora, "deploy", "dora", wanted)
    assert (answer["result"], answer["note"]) == ("done", "")
    assert dora.run("test", "-e", "/run/kill-once", check=False).returncode != 0, (
        "nobody was killed"
    )
    assert (greets(dora), deployed(dora)) == (f"killed-at-{point}", wanted)


def test_a_cancelled_build_ends_and_leaves_the_agent_alone(dora: Hive) -> None:
    before = leader(dora, "dora"), deployed(dora)
    with drop_in(dora, BUILD, f"ExecStartPre={CANCEL}"):
        answer = probe(dora, "deploy", "dora", commit(dora, greeting("cancelled")))
    assert (answer["result"], answer["note"]) == (
        "cancelled",
        "The job was cancelled; dora is unchanged.",
    )
    assert dora.run("systemctl", "is-active", BUILD, check=False).stdout.strip() == "inactive"
    assert (leader(dora, "dora"), deployed(dora)) == before


@pytest.mark.long
def test_a_stopped_agent_has_it_at_its_next_start_and_a_lost_build_is_made_again(
    dora: Hive,
) -> None:
    dora.hivectl("stop", "dora", timeout=120)
    later = commit(dora, greeting("later"))
    assert probe(dora, "deploy", "dora", later)["result"] == "done"
    assert hivectl(dora, "status", "dora")["state"] == "stopped"
    dora.run("rm", "-rf", f"/var/lib/hyperhive/builds/dora/{later}")
    dora.hivectl("start", "dora", timeout=120)
    assert greets(dora) == "later"


def test_nobody_but_approvals_deploys(dora: Hive) -> None:
    arguments = ("Deploy", "ssa{sv}", "dora", "a" * 40, "0")
    service = ("org.hyperhive.Lifecycle1", "/org/hyperhive/Lifecycle1", "org.hyperhive.Lifecycle1")
    done = dora.run("busctl", "call", *service, *arguments, check=False)
    assert "Only the service approvals may call Deploy; the caller is the operator." in done.stderr
