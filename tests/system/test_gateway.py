"""The gateway under a hostile agent that speaks to its sockets itself, and under kill -9."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hive import Hive
from tests.system.inside import PROBES, hivectl, inside, leader

pytestmark = pytest.mark.system

LOAD = (PROBES / "api_load.py").read_text()
GATEWAY, LEDGER = "hive-gateway@alice.service", "hive-ledger.service"
API = "/run/hive/api.sock"
CURL = ("curl", "-s", "--max-time", "30", "--unix-socket", API)
MOST_OF_ONE = 200
"""More tokens than one answer of the load uses."""


@pytest.fixture
def alice(swarm: Hive) -> Iterator[Hive]:
    """Give the hive, with the budget of alice as before in the end."""
    yield swarm
    swarm.hivectl("budget", "alice", "--reset")


def served(hive: Hive, after: int = 0, wait: int = 0) -> list[dict[str, Any]]:
    """Return the requests that the model got, those after a number."""
    url = f"http://127.0.0.1:{hive.ports.model}/requests?after={after}&wait={wait}"
    found: list[dict[str, Any]] = json.loads(hive.run("curl", "-sf", url).stdout)
    return found


def last_served(hive: Hive) -> int:
    return max((one["number"] for one in served(hive)), default=0)


def until_served(hive: Hive, after: int, count: int) -> None:
    """Wait until the model has got `count` requests after a number."""
    last = after
    while last < after + count:
        last = max(one["number"] for one in served(hive, last, wait=60))


def requests(hive: Hive, before: int) -> list[dict[str, Any]]:
    """Return the requests of alice that the ledger has counted, those after an id."""
    found = hivectl(hive, "usage", "alice", "--limit", "1000")
    return [one for one in found if one["id"] > before]


def last_request(hive: Hive) -> int:
    return max((one["id"] for one in requests(hive, 0)), default=0)


def total(hive: Hive) -> dict[str, Any]:
    [*_, budget] = hivectl(hive, "budget", "alice")
    assert budget["period"] == "total"
    return dict(budget)


def load(hive: Hive, threads: int, each: int, prompt: str) -> Any:
    """Send requests from inside the container; return what came of each."""
    arguments = (str(threads), str(each), prompt)
    return json.loads(inside(hive, "alice", "python3", "-c", LOAD, *arguments).stdout)


def start_load(hive: Hive, threads: int, prompt: str) -> "subprocess.Popen[str]":
    """Begin to send a request in each thread."""
    enter = ["nsenter", "--target", str(leader(hive, "alice")), "--all", "--setuid=0", "--setgid=0"]
    return hive.popen(*enter, "python3", "-c", LOAD, str(threads), "1", prompt)


def ended(running: "subprocess.Popen[str]") -> Any:
    said, complained = running.communicate(timeout=120)
    assert running.returncode == 0, complained
    return json.loads(said)


def test_a_hostile_agent_cannot_pass_its_budget(alice: Hive) -> None:
    limit = total(alice)["spent_tokens"] + 2000
    alice.hivectl("budget", "alice", "--total-tokens", str(limit))
    before, counted = last_served(alice), last_request(alice)
    answers = load(alice, 8, 60, "play short-turn")
    statuses = {answer["status"] for answer in answers}
    assert {200, 402} <= statuses <= {200, 402, 429}, statuses
    assert "Hyperhive: " in next(a["text"] for a in answers if a["status"] == 402)
    spent = total(alice)
    assert spent["spent_tokens"] <= limit + MOST_OF_ONE
    assert spent["reserved_tokens"] == 0
    # What the model got is what was counted, and what the agent was answered.
    whole = [answer for answer in answers if answer["whole"]]
    assert last_served(alice) - before == len(whole)
    assert len([one for one in requests(alice, counted) if one["outcome"] == "done"]) == len(whole)
    again = load(alice, 4, 5, "play short-turn")
    assert {answer["status"] for answer in again} == {402}
    assert last_served(alice) - before == len(whole)


def test_a_hostile_agent_uses_its_own_credential_alone(swarm: Hive) -> None:
    counted = last_request(swarm)
    [answer] = load(swarm, 1, 1, "play short-turn")
    assert answer["whole"]
    [request] = requests(swarm, counted)
    assert (request["agent"], request["credential"]) == ("alice", "scripted")


@pytest.mark.parametrize(
    "arguments",
    [
        ("-X", "POST", "-d", "{}", "http://x/v1/files"),
        ("http://x/requests",),
        ("--path-as-is", "http://x/v1/models/../../requests"),
        ("-H", "Transfer-Encoding: chunked", "-H", "Content-Length: 3", "-d", "{}", "http://x/v1/messages"),
        ("-X", "CONNECT", "http://x/"),
    ],
)  # fmt: skip
def test_no_other_path_of_the_upstream_is_reached(swarm: Hive, arguments: tuple[str, ...]) -> None:
    before = last_served(swarm)
    said = inside(swarm, "alice", *CURL, "-w", "\n%{http_code}", *arguments, check=False).stdout
    assert said.splitlines()[-1] in ("400", "404"), said
    assert "scripted model" not in said
    assert last_served(swarm) == before


def test_a_killed_gateway_leaves_its_requests_at_the_most_they_may_cost(alice: Hive) -> None:
    before, counted = last_served(alice), last_request(alice)
    running = start_load(alice, 4, "play slow-stream")
    until_served(alice, before, 4)
    alice.run("systemctl", "kill", "--signal=KILL", GATEWAY)
    assert not [answer for answer in ended(running) if answer["whole"]]
    [answer] = load(alice, 1, 1, "play short-turn")  # systemd has started another gateway
    assert answer["whole"]
    outcomes = sorted(one["outcome"] for one in requests(alice, counted))
    assert outcomes == ["done", "lost", "lost", "lost", "lost"]
    assert total(alice)["reserved_tokens"] == 0


def test_a_killed_ledger_counts_each_request_once(alice: Hive) -> None:
    before, counted = last_served(alice), last_request(alice)
    running = start_load(alice, 4, "play slow-stream")
    until_served(alice, before, 4)
    alice.run("systemctl", "kill", "--signal=KILL", LEDGER)
    answers = ended(running)
    assert [answer["whole"] for answer in answers] == [True] * 4, answers
    [answer] = load(alice, 1, 1, "play short-turn")
    assert answer["whole"]
    assert [one["outcome"] for one in requests(alice, counted)] == ["done"] * 5
    assert total(alice)["reserved_tokens"] == 0


@pytest.mark.parametrize(
    ("prompt", "outcome"), [("play cut-stream", "broken"), ("play garbage-stream", "broken")]
)
def test_a_stream_that_breaks_is_counted(alice: Hive, prompt: str, outcome: str) -> None:
    counted = last_request(alice)
    [answer] = load(alice, 1, 1, prompt)
    assert not answer["whole"]
    [request] = requests(alice, counted)
    assert request["outcome"] == outcome
    assert request["output_tokens"] > 0
