"""The main job: a task of the operator goes through two agents and comes back as an answer."""

import time
from collections.abc import Callable

import pytest

from tests.system.hive import Hive
from tests.system.inside import decide, hivectl, until_told, wait_for_inbox

pytestmark = pytest.mark.system

SERVICES = ["hive-broker", "hive-lifecycle"]
FURTHER = ["hive-approvals", "hive-dashboard", "hive-ledger"]


def test_an_errand_goes_to_bob_and_its_answer_to_the_operator(
    swarm: Hive, measured: Callable[[str], None]
) -> None:
    started = time.monotonic()
    swarm.hivectl("send", "manager", "ask bob for six times seven")
    wait_for_inbox(swarm, "bob says: 42", "manager")  # other tests leave messages with numbers
    measured(f"an errand through two agents to its answer: {time.monotonic() - started:.1f} s")
    errand = hivectl(swarm, "history", "--from", "manager", "--to", "bob")[-1]
    assert "six times seven" in errand["body"]
    assert "42" in hivectl(swarm, "history", "--from", "bob", "--to", "manager")[-1]["body"]


def answers(hive: Hive, text: str) -> int:
    """Return how many messages of the manager to the operator contain `text`."""
    told = hivectl(hive, "history", "--from", "manager", "--to", "operator", "--limit", "1000")
    return sum(text in message["body"] for message in told)


@pytest.mark.parametrize(
    "service", [*SERVICES, *(pytest.param(one, marks=pytest.mark.long) for one in FURTHER)]
)
def test_a_restart_of_a_service_while_agents_work_loses_nothing(swarm: Hive, service: str) -> None:
    before = answers(swarm, "81")
    swarm.hivectl("send", "manager", "ask bob for nine times nine")
    swarm.run("systemctl", "restart", service)
    wait_for_inbox(swarm, "81", "manager")
    assert answers(swarm, "81") == before + 1, "the errand was answered more than once"
    assert swarm.run("systemctl", "is-active", service).stdout.strip() == "active"


def test_a_restart_of_an_endpoint_while_agents_work_loses_nothing(swarm: Hive) -> None:
    swarm.run("systemctl", "restart", "hive-agent@bob.service")
    swarm.hivectl("send", "manager", "ask bob for eight times eight")
    wait_for_inbox(swarm, "64", "manager")


def test_the_manager_asks_for_an_agent_and_the_operator_decides(swarm: Hive) -> None:
    swarm.hivectl("send", "manager", "spawn carol because the docs need a writer")
    wait_for_inbox(swarm, "carol")
    request = hivectl(swarm, "pending")[-1]
    assert (request["agent"], request["requested_by"]) == ("carol", "manager")
    assert "carol" not in {agent["name"] for agent in hivectl(swarm, "list")}
    decide(swarm, "approve", request["id"], timeout=120)
    agents = {agent["name"]: agent["state"] for agent in hivectl(swarm, "list")}
    assert agents["carol"] == "running"
    until_told(swarm, "manager", "spawned", "carol")
    swarm.hivectl("destroy", "carol", "--purge", "--yes", timeout=120)
    assert "carol" not in {agent["name"] for agent in hivectl(swarm, "list")}


def test_a_denied_request_spawns_nothing_and_tells_the_manager_why(swarm: Hive) -> None:
    swarm.hivectl("send", "manager", "spawn dave because why not")
    wait_for_inbox(swarm, "dave")
    request = hivectl(swarm, "pending")[-1]
    decide(swarm, "deny", request["id"], "--note", "two are enough")
    until_told(swarm, "manager", "approval-resolved", "two are enough")
    assert "dave" not in {agent["name"] for agent in hivectl(swarm, "list")}
    assert hivectl(swarm, "pending") == []
