"""The endpoint for assistants under its real units: it listens while there is a token."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hive import Hive

pytestmark = pytest.mark.system

DROP_IN = "/run/systemd/system/hive-assistant.socket.d/50-test.conf"
REQUEST = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "list_agents", "arguments": {}},
}


@pytest.fixture
def port(swarm: Hive) -> Iterator[int]:
    """Let the endpoint listen on a port that no other sandbox uses."""
    port = swarm.ports.dashboard + 400
    text = f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n"
    swarm.run("install", "-D", "-m", "644", "/dev/stdin", DROP_IN, input=text)
    swarm.run("systemctl", "daemon-reload")
    yield port
    swarm.run("rm", "-rf", "/etc/hyperhive/credentials/assistant/desk", DROP_IN)
    swarm.run("systemctl", "stop", "hive-assistant.socket", "hive-assistant.service")
    swarm.run("systemctl", "daemon-reload")


def ask(port: int, token: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2025-06-18",
    }
    connection.request("POST", "/mcp", json.dumps(REQUEST), headers)
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def state(hive: Hive, unit: str) -> str:
    return str(hive.run("systemctl", "is-active", unit, check=False).stdout.strip())


@pytest.mark.long
def test_it_listens_while_there_is_a_token(swarm: Hive, port: int) -> None:
    swarm.run("systemctl", "start", "hive-assistant.socket")
    assert state(swarm, "hive-assistant.socket") == "inactive", "nobody has a token"
    made = json.loads(swarm.hivectl("assistant", "create", "desk", "--json").stdout)
    assert made["url"] == f"http://127.0.0.1:{port}/mcp"
    assert state(swarm, "hive-assistant.socket") == "active"
    assert state(swarm, "hive-assistant.service") == "inactive"
    status, answer = ask(port, made["token"])
    assert status == 200
    names = {agent["name"] for agent in answer["result"]["structuredContent"]["agents"]}
    assert {"manager", "alice", "bob"} <= names
    assert ask(port, "another")[0] == 401
    assert state(swarm, "hive-assistant.service") == "active"
    swarm.hivectl("assistant", "revoke", "desk", "--yes")
    assert state(swarm, "hive-assistant.service") == "inactive"
    with pytest.raises(ConnectionRefusedError):
        ask(port, made["token"])
