"""The harness's own tools, extra servers, and what no parser takes, in a real container."""

import json
from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import inside, until_state, wait_for_inbox

pytestmark = pytest.mark.system

EXTRA = "/etc/hyperhive/extra-mcp.json"

GREETER = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    method, result = request.get("method"), {}
    if method == "initialize":
        version = request["params"]["protocolVersion"]
        info = {"name": "greeter", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    elif method == "tools/list":
        result = {"tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        who = request["params"]["arguments"]["who"]
        result = {"content": [{"type": "text", "text": "Ahoy, " + who}]}
    if "id" in request:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
"""


@pytest.fixture
def extra(swarm: Hive) -> Iterator[Hive]:
    """Give all agents two extra servers, of which one does not start, and restart alice."""
    servers = {
        "greeter": {"command": "python3", "args": ["-c", GREETER]},
        "missing": {"command": "/no/such/program"},
    }
    swarm.run("install", "-m", "0644", "/dev/stdin", EXTRA, input=json.dumps(servers))
    swarm.hivectl("restart", "alice", timeout=120)
    until_state(swarm, "alice", "idle", "TurnState")
    yield swarm
    swarm.run("rm", EXTRA)
    swarm.hivectl("restart", "alice", timeout=120)
    until_state(swarm, "alice", "idle", "TurnState")


@pytest.mark.long
def test_half_an_emoji_is_a_tool_error_at_once(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "play half-emoji")
    told = wait_for_inbox(swarm, "The tool says", sender="alice")["body"]
    assert "The tool was not called. This line is not valid JSON" in told


def test_an_agent_knows_itself_and_keeps_a_list(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "play who-are-you")
    told = wait_for_inbox(swarm, "I am: ", sender="alice")["body"]
    who = json.loads(told.removeprefix("I am: "))
    assert (who["name"], who["role"]) == ("alice", "agent")
    assert who["limits"]["tasks_max"] == 4096
    assert who["network"]["mode"] == "gateway"
    assert "pypi.org" in who["network"]["egress"]
    swarm.hivectl("send", "alice", "play plan soup")
    wait_for_inbox(swarm, "I plan: ", sender="alice")
    kept = json.loads(inside(swarm, "alice", "cat", "/state/hyperhive-todo.json").stdout)
    assert [item["text"] for item in kept["items"]] == ["cook soup", "eat soup"]


@pytest.mark.long
def test_servers_of_the_host_reach_each_agent(extra: Hive) -> None:
    extra.hivectl("send", "alice", "play greet eve")
    told = wait_for_inbox(extra, "The greeter says", sender="alice")["body"]
    assert told == "The greeter says: Ahoy, eve"
