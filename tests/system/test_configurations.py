"""Configurations from the manager's model to the running agent: git, approval, restart."""

import json
import re
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import (
    call,
    decide,
    hivectl,
    inside,
    refused,
    until_ended,
    until_state,
    until_told,
    wait_for_inbox,
)

pytestmark = pytest.mark.system

RESOLVED = "approval-resolved"
APPLIED = "/var/lib/hyperhive/git/applied"


def agent(hive: Hive, name: str) -> dict[str, Any]:
    return dict(hivectl(hive, "status", name))


def asked(hive: Hive, wish: str, answer: str) -> int:
    """Make the manager request a change, and return the number of the request."""
    hive.hivectl("send", "manager", wish)
    told = wait_for_inbox(hive, answer)["body"]
    found = re.search(r'"request": ?(\d+)', told)
    assert found, told
    return int(found[1])


def request(hive: Hive, number: int) -> dict[str, Any]:
    [found] = [r for r in hivectl(hive, "pending", "--all") if r["id"] == number]
    return dict(found)


def git(hive: Hive, name: str, *command: str) -> str:
    """Run git on the agent's applied repository as the manual describes it."""
    as_owner = ["runuser", "-u", "hive-approvals", "--"]
    return hive.run(*as_owner, "git", "-C", f"{APPLIED}/{name}", *command).stdout


def tags(hive: Hive, name: str) -> set[str]:
    return set(git(hive, name, "tag").split())


def test_the_whole_loop(swarm: Hive) -> None:
    before = agent(swarm, "alice")
    number = asked(swarm, "give alice the variable GREETING=hello", "I asked for GREETING")
    waiting = request(swarm, number)
    assert (waiting["kind"], waiting["agent"]) == ("apply", "alice")
    assert (waiting["state"], waiting["requested_by"]) == ("pending", "manager")
    diff = swarm.hivectl("diff", str(number)).stdout
    assert '+environment.GREETING = "hello"\n' in diff

    approved = decide(swarm, "approve", number, timeout=300)
    assert approved.stdout.startswith("alice: deploy done\n")
    assert until_ended(swarm, number)["state"] == "deployed"
    after = agent(swarm, "alice")
    assert after["deployed_commit"] == waiting["commit"]
    assert after["invocation_id"] != before["invocation_id"]
    swarm.hivectl("send", "alice", "what is $GREETING")
    assert "GREETING is hello" in wait_for_inbox(swarm, "GREETING is")["body"]

    story = {f"{state}/{number}" for state in ("proposal", "approved", "building", "deployed")}
    assert story <= tags(swarm, "alice")
    newest = hivectl(swarm, "deploy-log", "alice")[0]
    assert (newest["commit"], newest["approval"]) == (waiting["commit"], number)
    assert newest["description"].splitlines()[0] == "Set GREETING"
    told = inside(swarm, "manager", "git", "-C", "/meta", "log", "-1").stdout
    assert "Deploy alice: Set GREETING" in told
    assert waiting["commit"] in told
    show = ["git", "-C", "/agents/alice", "show", f"applied/refs/tags/deployed/{number}:agent.toml"]
    inside(swarm, "manager", "git", "-C", "/agents/alice", "fetch", "--quiet", "applied")
    assert 'environment.GREETING = "hello"' in inside(swarm, "manager", *show).stdout
    until_told(swarm, "manager", RESOLVED, f"request {number} ")


def test_what_does_not_validate_is_refused_at_once(swarm: Hive) -> None:
    before = hivectl(swarm, "pending", "--all")
    swarm.hivectl("send", "manager", "give alice the variable 2ND=x")
    told = wait_for_inbox(swarm, "I asked for 2ND")["body"]
    assert "agent.toml, line 1: environment.2ND = '2ND' is not valid" in told
    assert hivectl(swarm, "pending", "--all") == before


@pytest.mark.long
def test_what_does_not_build_changes_nothing(swarm: Hive) -> None:
    before = agent(swarm, "alice")
    number = asked(swarm, "give alice the package no-such-package", "I asked for no-such-package")
    failed = decide(swarm, "approve", number, check=False, timeout=300)
    assert failed.returncode == Exit.FAILED
    assert "no-such-package" in failed.stderr
    assert len(failed.stderr.splitlines()) > 1, "the end of the log is missing"
    after = agent(swarm, "alice")
    for key in ("deployed_commit", "invocation_id", "state"):
        assert after[key] == before[key]
    ended = until_ended(swarm, number)
    assert ended["state"] == "failed"
    assert "no-such-package" in ended["note"]
    shown = ("tag", "--list", "--format=%(contents)", f"failed/{number}")
    assert "no-such-package" in git(swarm, "alice", *shown)
    assert git(swarm, "alice", "rev-parse", "main").strip() == before["deployed_commit"]
    assert "no-such-package" in until_told(swarm, "manager", RESOLVED, f"request {number} ")


def test_a_denied_change_carries_the_note(swarm: Hive) -> None:
    number = asked(swarm, "give bob the variable COLOUR=red", "I asked for COLOUR")
    decide(swarm, "deny", number, "--note", "He likes blue.")
    assert until_ended(swarm, number)["state"] == "denied"
    note = git(swarm, "bob", "tag", "-l", "--format=%(contents)", f"denied/{number}")
    assert "He likes blue." in note
    until_told(swarm, "manager", RESOLVED, "He likes blue.")


@pytest.mark.long
def test_a_newer_request_takes_the_place_of_the_older_and_can_be_withdrawn(swarm: Hive) -> None:
    first = asked(swarm, "give bob the variable SIZE=1", "I asked for SIZE")
    second = asked(swarm, "give bob the variable SIZE=2", "I asked for SIZE")
    assert request(swarm, first)["state"] == "superseded"
    answer = call(swarm, "manager", "withdraw_request", id=second)
    assert not refused(answer), answer
    assert until_ended(swarm, second)["state"] == "withdrawn"
    assert refused(call(swarm, "manager", "withdraw_request", id=second))
    assert {f"superseded/{first}", f"withdrawn/{second}"} <= tags(swarm, "bob")


@pytest.mark.long
def test_an_agent_is_taken_back_to_what_it_was(swarm: Hive) -> None:
    first = asked(swarm, "give bob the variable MOOD=good", "I asked for MOOD")
    decide(swarm, "approve", first, timeout=300)
    assert until_ended(swarm, first)["state"] == "deployed"
    back = hivectl(swarm, "deploy-log", "bob")[1]
    number = int(hivectl(swarm, "revert", "bob", back["tag"])["id"])
    assert request(swarm, number)["kind"] == "revert"
    assert '-environment.MOOD = "good"\n' in swarm.hivectl("diff", str(number)).stdout
    decide(swarm, "approve", number, "--now", timeout=300)
    assert until_ended(swarm, number)["state"] == "deployed"
    assert agent(swarm, "bob")["deployed_commit"] == back["commit"]
    told = json.loads(inside(swarm, "bob", "cat", "/etc/hyperhive/harness.json").stdout)
    assert "MOOD" not in told.get("command_environment", {})


@pytest.mark.long
def test_the_operator_edits_a_configuration_in_an_editor(swarm: Hive) -> None:
    def edit(editor: str, *options: str) -> str:
        environment = ("env", "--unset=VISUAL", f"EDITOR={editor}")
        command = ("hivectl", "edit", "bob", "--yes", *options)
        ran = swarm.run(*environment, *command, timeout=120)
        return ran.stdout + ran.stderr

    before = agent(swarm, "bob")
    assert edit("true") == "no changes\n"
    assert agent(swarm, "bob")["deployed_commit"] == before["deployed_commit"]
    script = "sed -i '1i environment.EDITED = \"yes\"'"
    assert "bob: deploy done\n" in edit(script, "-m", "Try an editor")
    ended = until_ended(swarm, max(row["id"] for row in hivectl(swarm, "pending", "--all")))
    assert (ended["state"], ended["requested_by"]) == ("deployed", "operator")
    assert agent(swarm, "bob")["deployed_commit"] == ended["commit"] != before["deployed_commit"]
    assert hivectl(swarm, "deploy-log", "bob")[0]["description"] == "Try an editor"
    assert 'environment.EDITED = "yes"\n' in swarm.hivectl("cat", "bob").stdout
    told = json.loads(inside(swarm, "bob", "cat", "/etc/hyperhive/harness.json").stdout)
    assert told["command_environment"]["EDITED"] == "yes"


@pytest.mark.long
def test_a_yes_that_waits_for_a_long_turn_can_be_hurried(swarm: Hive) -> None:
    number = asked(swarm, "give bob the variable HASTE=none", "I asked for HASTE")
    swarm.hivectl("send", "bob", "sleep 15")
    until_state(swarm, "bob", "thinking", "TurnState")
    waits = decide(swarm, "approve", number, "--no-wait", timeout=60)
    assert waits.returncode == Exit.OK
    again = decide(swarm, "approve", number, check=False, timeout=60)
    assert (again.returncode, "is already building" in again.stderr) == (Exit.CONFLICT, True)
    decide(swarm, "approve", number, "--now", timeout=120)
    assert until_ended(swarm, number)["state"] == "deployed"
    assert wait_for_inbox(swarm, "I slept for 15 seconds")["from"] == "bob"  # once more, whole


@pytest.mark.long
def test_an_agent_comes_with_its_configuration(swarm: Hive) -> None:
    config = 'environment.JOB = "docs"\nprompt = "You write."\n'
    asking = ["request-spawn", "dora", "-m", "The docs need her.", "--config", "-"]
    number = str(json.loads(swarm.hivectl(*asking, "--json", input=config).stdout)["id"])
    try:
        assert '+environment.JOB = "docs"' in swarm.hivectl("diff", number).stdout
        decide(swarm, "approve", number, timeout=300)
        assert until_ended(swarm, int(number))["state"] == "deployed"
        swarm.hivectl("send", "dora", "what is $JOB")
        assert "JOB is docs" in wait_for_inbox(swarm, "JOB is")["body"]
    finally:
        swarm.hivectl("destroy", "dora", "--purge", "--yes", timeout=120, check=False)


def test_the_manager_cannot_approve(swarm: Hive) -> None:
    for tool in ("approve", "deny", "revert"):
        assert refused(call(swarm, "manager", tool, id=1))
