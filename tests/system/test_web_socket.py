"""The socket on which a harness shows its agent's turns: who reaches it, and what they see."""

from collections.abc import Iterator

import pytest

from tests.system.hive import Hive
from tests.system.inside import WEB, inside, until_idle, until_state, until_told, web

pytestmark = pytest.mark.system

PYTHON = "/usr/lib/hyperhive/bin/python"
CONNECT = "from wire import web_socket; web_socket.connect('alice').close(); print('connected')"


def connect(hive: Hive, *user: str) -> str:
    """Connect to alice's harness as a user of the host; return what came of it."""
    done = hive.run("setpriv", *user, PYTHON, "-c", CONNECT, check=False)
    return str(done.stdout + done.stderr).splitlines()[-1]


NOBODY = ("--reuid=nobody", "--regid=nogroup", "--clear-groups")


def test_operators_and_the_dashboard_reach_it_and_nobody_else(swarm: Hive) -> None:
    assert connect(swarm, "--reuid=0") == "connected"
    assert connect(swarm, "--reuid=nobody", "--regid=nogroup", "--groups=hive") == "connected"
    dashboard = ("--reuid=hive-dashboard", "--regid=hive-dashboard", "--clear-groups")
    assert connect(swarm, *dashboard) == "connected"
    assert "You may not watch agents" in connect(swarm, *NOBODY)
    notify = ("--reuid=hive-notify", "--regid=hive-notify", "--clear-groups")
    assert "You may not watch agents" in connect(swarm, *notify)


def test_it_shows_a_turn_with_its_figures(swarm: Hive) -> None:
    swarm.hivectl("send", "alice", "what is 600 plus 66")
    until_told(swarm, "operator", "message", "666")
    until_state(swarm, "alice", "idle", "TurnState")
    newest = web(swarm, "alice", "/v1/turns?limit=1")["turns"][0]
    events = web(swarm, "alice", f"/v1/events?turn={newest['id']}")["events"]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "wake"
    assert {"tool-use", "tool-result", "text", "result"} <= set(kinds)
    assert newest["woken_by"][0]["from"] == "operator"
    assert newest["tools"] == {"mcp__hive__send": 1}
    state = web(swarm, "alice", "/v1/state")
    assert state["stored"] is True, inside(
        swarm, "alice", "journalctl", "-u", "hive-harness"
    ).stdout
    assert state["last_seq"] >= events[-1]["seq"]


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    yield swarm
    swarm.hivectl("restart", "alice", timeout=120)
    until_idle(swarm)


@pytest.mark.long
def test_what_an_agent_puts_in_its_place_is_not_followed(alice: Hive) -> None:
    inside(alice, "alice", "rm", "/run/hive-web/web.sock")
    inside(alice, "alice", "ln", "-s", "/run/dbus/system_bus_socket", "/run/hive-web/web.sock")
    assert "is away" in connect(alice, "--reuid=0")
    inside(alice, "alice", "sh", "-c", "rm /run/hive-web/web.sock; mkfifo /run/hive-web/web.sock")
    assert "is away" in connect(alice, "--reuid=0")
    # The directory itself belongs to the host: an agent cannot replace it.
    done = inside(alice, "alice", "rmdir", "/run/hive-web", check=False)
    assert done.returncode != 0


def test_it_lies_on_a_disk_and_not_in_the_memory_of_the_host(swarm: Hive) -> None:
    """An agent that fills the directory must not fill the host's /run."""
    device = "%d"
    web = swarm.run("stat", "-c", device, f"{WEB}/alice").stdout
    assert web == swarm.run("stat", "-c", device, "/var/lib/hyperhive").stdout
    assert web != swarm.run("stat", "-c", device, "/run").stdout
    done = inside(swarm, "alice", "touch", "/run/hive/x", check=False)
    assert done.returncode != 0


@pytest.mark.long
def test_a_rebuild_makes_it_for_an_agent_that_lacks_it(alice: Hive) -> None:
    alice.run("rm", "-r", f"{WEB}/alice")
    alice.hivectl("rebuild", "alice", timeout=120)
    until_idle(alice)
    assert alice.run("stat", "-c", "%a", f"{WEB}/alice").stdout == "711\n"
    alice.hivectl("restart", "alice", timeout=120)
    assert web(alice, "alice", "/v1/state")["state"]
