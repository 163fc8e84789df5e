"""Turns go from a container to the ledger, and old ones go away."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import call, hivectl, mcp, refused, until_state, until_told
from wire import names

pytestmark = pytest.mark.system

LEDGER = (names.LEDGER, names.LEDGER_PATH, names.LEDGER)
HARNESS = "hyperhive-harness"
STORE = "/var/lib/hyperhive/ledger/ledger.sqlite"

AGE = f"""
import sqlite3
db = sqlite3.connect("{STORE}")
db.execute("UPDATE turn SET started = started - 100 * 86400 * 1000000 WHERE error = 'of long ago'")
db.execute("INSERT INTO egress (agent, host, port, state, first, last) VALUES "
    "('alice', 'old.example', 443, 'denied', 1, 1)")
db.execute("INSERT INTO request (agent, credential, gateway, key, model, outcome, started, ended, "
    "reserved, reserved_tokens, unknown_price) VALUES "
    "('alice', 'default', '', '', 'old', 'done', 1, 1, 0, 0, 0)")
db.execute("INSERT INTO provider_limit VALUES ('agent:old', 1, NULL, NULL, 0, 1)")
db.commit()
"""


def turn(**more: Any) -> dict[str, Any]:
    now = time.time()
    return {"turn": 2**40, "started": now - 2, "ended": now - 1, "outcome": "done", **more}


def ours(hive: Hive, error: str) -> list[dict[str, Any]]:
    """Return the turns with this error."""
    done = hive.run("busctl", "--json=short", "call", *LEDGER, "ListTurns", "a{sv}u", "0", "1000")
    [rows] = json.loads(done.stdout)["data"]
    turns = [{key: value["data"] for key, value in row.items()} for row in rows]
    return [turn for turn in turns if turn.get("error") == error]


def cost_today(hive: Hive, agent: str) -> float:
    [found] = [one["cost_today"] for one in hivectl(hive, "list") if one["name"] == agent]
    return float(found)


def test_a_turn_is_recorded_once_and_for_the_agent_of_the_socket(swarm: Hive) -> None:
    until_state(swarm, "alice", "idle", "TurnState")
    before, now = cost_today(swarm, "alice"), time.time()
    # After her last request: otherwise its cost is what the gateway has counted.
    times = {"started": now, "ended": now}
    made = turn(error="by hand", cost_usd=0.25, tools={"Bash": 2}, tool_calls=2, **times)
    for _ in range(2):
        assert not refused(call(swarm, "alice", "record_turn", HARNESS, **made))
    foreign = {**made, "agent": "bob"}
    [answer] = mcp(swarm, "alice", client=HARNESS, calls=[["record_turn", foreign]])
    assert refused(answer)
    [found] = ours(swarm, "by hand")
    assert (found["agent"], found["cost"], found["tools"]) == ("alice", 250_000, {"Bash": 2})
    [shown] = [row for row in hivectl(swarm, "turns", "alice") if row["error"] == "by hand"]
    assert (shown["turn"], shown["cost"], shown["tools"]) == (2**40, 0.25, {"Bash": 2})
    assert cost_today(swarm, "alice") == pytest.approx(before + 0.25)
    [sums] = hivectl(swarm, "cost", "alice")
    assert sums["cost"] == pytest.approx(before + 0.25)


def aged(hive: Hive) -> list[int]:
    """Return how many hosts, requests and limits of long ago there are."""
    hosts = [one for one in hivectl(hive, "egress", "alice") if one["host"] == "old.example"]
    usage = [
        one for one in hivectl(hive, "usage", "alice", "--limit=1000") if one["model"] == "old"
    ]
    [limits] = hive.call(*LEDGER, "ListLimits")
    requests = [one for one in usage if one["model"] == "old"]
    return [len(hosts), len(requests), sum("agent:old" in str(limit) for limit in limits)]


@pytest.fixture
def old(swarm: Hive) -> Iterator[Hive]:
    """Record a turn, and make it 100 days old."""
    call(swarm, "alice", "record_turn", HARNESS, **turn(error="of long ago"))
    swarm.run("systemctl", "stop", "hive-ledger")
    swarm.run("runuser", "-u", "hive-ledger", "--", PYTHON, "-c", AGE)
    swarm.run("systemctl", "start", "hive-ledger")
    yield swarm
    swarm.run("systemctl", "start", "hive-ledger")


@pytest.mark.long
def test_the_timer_deletes_old_turns(old: Hive) -> None:
    call(old, "alice", "record_turn", HARNESS, **turn(error="of today"))
    assert ours(old, "of long ago")
    assert aged(old) == [1, 1, 1]
    old.run("systemctl", "start", "hive-vacuum.service")
    assert aged(old) == [0, 0, 0]
    assert ours(old, "of long ago") == []
    assert ours(old, "of today")


@pytest.mark.long
def test_a_stopped_ledger_keeps_the_rest_of_the_hive_going(old: Hive) -> None:
    old.run("systemctl", "stop", "hive-ledger")
    answer = call(old, "alice", "record_turn", HARNESS, **turn(error="lost"))
    assert "systemctl start hive-ledger.service" in json.dumps(answer)
    old.run("systemctl", "start", "hive-vacuum.service")
    old.hivectl("send", "bob", "a message needs no ledger")
    assert {agent["cost_today"] for agent in hivectl(old, "list")} == {None}
    # No request leaves a gateway that cannot be counted. It waits, and goes on with the ledger.
    old.hivectl("send", "alice", "what are 700 plus 77, once there is a ledger?")
    until_state(old, "alice", "thinking", key="TurnState")
    old.run("systemctl", "start", "hive-ledger")
    until_told(old, "operator", "message", "777")
