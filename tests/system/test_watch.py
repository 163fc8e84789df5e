"""The operator watches an agent at work in a terminal, and talks with it."""

import json

import pytest

from tests.system.following import following
from tests.system.hive import Hive
from tests.system.inside import hivectl, inside, probe

pytestmark = pytest.mark.system


def test_chat_shows_the_turn_until_the_answer_is_there(swarm: Hive) -> None:
    chat = swarm.run("hivectl", "chat", "alice", input="what are six times seven?\n", timeout=120)
    lines = [line.split(maxsplit=1)[1] for line in chat.stdout.splitlines() if line[:1] != " "]
    assert lines[0].startswith("turn ")
    assert "from operator" in lines[0]
    assert "42" in chat.stdout
    assert " done after " in lines[-1]
    number = lines[-1].split()[1]
    watched = swarm.run("hivectl", "watch", "alice", "--turn", number, "--json").stdout
    events = [json.loads(line) for line in watched.splitlines()]
    assert {event["turn"] for event in events} == {int(number)}
    assert [events[0]["type"], events[-1]["type"]] == ["wake", "turn-end"]
    page = swarm.run("hivectl", "export-turn", "alice", number, "--html").stdout
    assert "six times seven" in page
    probe(swarm, "until_recorded", "alice", number)
    [recorded] = [row for row in hivectl(swarm, "turns", "alice") if row["turn"] == int(number)]
    assert recorded["outcome"] == "done"
    assert recorded["output_tokens"] > 0
    [today] = [agent for agent in hivectl(swarm, "list") if agent["name"] == "alice"]
    assert today["cost_today"] >= recorded["cost"] > 0


@pytest.mark.long
def test_watch_goes_on_when_the_harness_is_back(swarm: Hive) -> None:
    with following(swarm, "alice") as watching:
        swarm.hivectl("send", "alice", "what are six times seven, first?")
        first = watching.until("turn-end", "done")
        inside(swarm, "alice", "systemctl", "restart", "hive-harness")
        swarm.hivectl("send", "alice", "what are six times seven, again?")
        second = watching.until("turn-end", "done")
    assert second["seq"] > first["seq"]


@pytest.mark.parametrize("trap", ["link", "fifo", "nothing"])
@pytest.mark.long
def test_a_trap_in_the_place_of_the_socket_is_not_touched(swarm: Hive, trap: str) -> None:
    """The container owns the directory."""
    make = {
        "link": "ln -s /run/dbus/system_bus_socket web.sock",
        "fifo": "mkfifo web.sock",
        "nothing": "true",
    }[trap]
    script = f"cd /run/hive-web && mv web.sock kept && {make}"
    inside(swarm, "alice", "sh", "-c", script)
    try:
        done = swarm.run("hivectl", "watch", "alice", check=False, timeout=30)
        assert done.returncode == 5
        assert "The harness of alice is away" in done.stderr
    finally:
        inside(swarm, "alice", "sh", "-c", "cd /run/hive-web && rm -f web.sock && mv kept web.sock")
    assert swarm.run("hivectl", "watch", "alice").returncode == 0
