"""The gateway under a hostile agent that speaks to its sockets itself, and under kill -9."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.system import gateway
from tests.system.gateway import API, LEDGER, LOAD, last_request, load, requests, total
from tests.system.hive import Hive
from tests.system.inside import PROBES, inside, leader

pytestmark = pytest.mark.system

GATEWAY = gateway.UNIT
ROOM = 40_000
"""Tokens for some requests that are reserved at once, and for more that are sent later."""
MOST_OF_ONE = 2000
"""More tokens than one request of the load uses, and fewer than are reserved for it."""
RAW = (PROBES / "api_raw.py").read_text()


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


def of_the_load(hive: Hive, after: int) -> int:
    """Return how many requests of `load` the model got: agents of the hive tell their names."""
    return len([one for one in served(hive, after) if not one["agent"]])


def until_served(hive: Hive, after: int, count: int) -> None:
    """Wait until the model has got `count` requests after a number."""
    last = after
    while last < after + count:
        last = max(one["number"] for one in served(hive, last, wait=60))


def start_load(hive: Hive, threads: int, prompt: str, each: int = 1) -> "subprocess.Popen[str]":
    """Begin to send requests in each thread."""
    enter = ["nsenter", "--target", str(leader(hive, "alice")), "--all", "--setuid=0", "--setgid=0"]
    return hive.popen(*enter, "python3", "-c", LOAD, str(threads), str(each), prompt)


def ended(running: "subprocess.Popen[str]") -> Any:
    said, complained = running.communicate(timeout=120)
    assert running.returncode == 0, complained
    return json.loads(said)


def test_a_hostile_agent_cannot_pass_its_budget(alice: Hive) -> None:
    limit = total(alice)["spent_tokens"] + ROOM
    alice.hivectl("budget", "alice", "--total-tokens", str(limit))
    before, counted = last_served(alice), last_request(alice)
    answers = load(alice, 8, 20, f"play short-turn {'word ' * 800}")
    statuses = {answer["status"] for answer in answers}
    assert {200, 402} <= statuses <= {200, 402, 429}, statuses
    assert "Hyperhive: " in next(a["text"] for a in answers if a["status"] == 402)
    spent = total(alice)
    assert limit <= spent["spent_tokens"] <= limit + MOST_OF_ONE
    assert spent["reserved_tokens"] == 0
    # What the model got is what was counted, and what the agent was answered.
    whole = [answer for answer in answers if answer["whole"]]
    assert of_the_load(alice, before) == len(whole)
    assert len([one for one in requests(alice, counted) if one["outcome"] == "done"]) == len(whole)
    again = load(alice, 4, 5, "play short-turn")
    assert {answer["status"] for answer in again} == {402}
    assert of_the_load(alice, before) == len(whole)


def test_a_hostile_agent_uses_its_own_credential_alone(swarm: Hive) -> None:
    counted = last_request(swarm)
    [answer] = load(swarm, 1, 1, "play short-turn")
    assert answer["whole"]
    [request] = requests(swarm, counted)
    assert (request["agent"], request["credential"]) == ("alice", "scripted")


ASK = json.dumps({"model": "m", "max_tokens": 1, "messages": []})
SMUGGLED = "GET /requests HTTP/1.1\r\nHost: x\r\n\r\n"


def raw(first: str, *headers: str, body: str = "") -> str:
    return "\r\n".join([first, "Host: x", *headers]) + "\r\n\r\n" + body


def post(body: str, *headers: str) -> str:
    return raw("POST /v1/messages HTTP/1.1", *headers, body=body)


def chunked(text: str) -> str:
    return f"{len(text):x}\r\n{text}\r\n"


LENGTH = f"Content-Length: {len(ASK)}"
CHUNKED = "Transfer-Encoding: chunked"
HOSTILE = {
    "another path": raw("POST /v1/files HTTP/1.1", "Content-Length: 0"),
    "a path of the scripted model": raw("GET /requests HTTP/1.1"),
    "dots in the path": raw("GET /v1/models/../../requests HTTP/1.1"),
    "escaped dots": raw("GET /v1/models/%2e%2e/%2e%2e/requests HTTP/1.1"),
    "slashes": raw("GET //requests HTTP/1.1"),
    "another host": raw("GET http://127.0.0.1:{model}/requests HTTP/1.1"),
    "CONNECT": raw("CONNECT 127.0.0.1:{model} HTTP/1.1"),
    "an upgrade": raw("GET /requests HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"),
    "another version": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": "GET /requests\r\n\r\n",
    "length and chunks": post(chunked(ASK) + "0\r\n\r\n" + SMUGGLED, LENGTH, CHUNKED),
    "chunks and length": post(ASK + SMUGGLED, CHUNKED, LENGTH),
    "two lengths": post(ASK + SMUGGLED, LENGTH, f"Content-Length: {len(ASK + SMUGGLED)}"),
    "a hidden coding": post(chunked(ASK) + "0\r\n\r\n" + SMUGGLED, "Transfer-Encoding : chunked"),
    "an unknown coding": post(ASK + SMUGGLED, LENGTH, "Transfer-Encoding: xchunked"),
    "a long header": post(ASK, LENGTH, f"x-app: {'a' * 70_000}"),
    "many headers": post(ASK, LENGTH, *(f"x-stainless-h{n}: x" for n in range(5000))),
    "a folded header": post(ASK, LENGTH, "x-app: a\r\n x-evil: b"),
    "a bare newline": post(ASK, LENGTH, f"x-app: a\n\n{SMUGGLED}"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_other_path_of_the_upstream_is_reached_by(swarm: Hive, what: str) -> None:
    before, counted = last_served(swarm), last_request(swarm)
    data = HOSTILE[what].replace("{model}", str(swarm.ports.model))
    answer = inside(swarm, "alice", "python3", "-c", RAW, API, "0.3", stdin=data).stdout
    assert "200 OK" not in answer
    assert "agent" not in answer, "the journal of the scripted model"
    assert of_the_load(swarm, before) == 0
    assert requests(swarm, counted) == []


def test_each_pipelined_request_is_reserved_and_a_foreign_one_is_refused(swarm: Hive) -> None:
    before, counted = last_served(swarm), last_request(swarm)
    body = ASK.replace(
        '"messages": []', '"messages": [{"role": "user", "content": "play short-turn"}]'
    )
    one = post(body, f"Content-Length: {len(body)}")
    data = one + one + SMUGGLED
    answer = inside(swarm, "alice", "python3", "-c", RAW, API, "5", stdin=data).stdout
    assert (answer.count("200 OK"), answer.count("404 Not Found")) == (2, 1)
    assert of_the_load(swarm, before) == len(requests(swarm, counted)) == 2


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


@pytest.mark.long
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


@pytest.mark.parametrize("unit", [GATEWAY, pytest.param(LEDGER, marks=pytest.mark.long)])
@pytest.mark.long
def test_claude_goes_on_after_a_kill(alice: Hive, unit: str) -> None:
    before = last_served(alice)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(gateway.claude, alice, "play slow-stream")
        until_served(alice, before, 1)
        alice.run("systemctl", "kill", "--signal=KILL", unit)
        status, said = asking.result()
    assert (status, "This is the last one." in said) == (0, True), said
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


@pytest.mark.long
def test_killing_both_again_and_again_counts_nothing_twice_and_loses_nothing(alice: Hive) -> None:
    before, counted = last_served(alice), last_request(alice)
    running = start_load(alice, 16, "play short-turn", each=20)
    number = before
    for kill in range(10):
        until_served(alice, number, 10)
        number = last_served(alice)
        alice.run("systemctl", "kill", "--signal=KILL", (GATEWAY, LEDGER)[kill % 2])
    answers = ended(running)
    assert len(answers) == 320
    [last] = load(alice, 1, 1, "play short-turn")
    assert last["whole"]
    alice.run("systemctl", "stop", GATEWAY)  # this waits until the ledger has taken all
    assert total(alice)["reserved_tokens"] == 0
    served_ = of_the_load(alice, before)
    whole = len([answer for answer in answers if answer["whole"]]) + 1
    outcomes = Counter(one["outcome"] for one in requests(alice, counted))
    assert set(outcomes) <= {"done", "lost", "broken", "failed", "refused"}
    assert outcomes["done"] <= served_, "one is counted twice"
    # One that was killed may have been answered whole, but is then counted as lost.
    assert whole <= outcomes["done"] + outcomes["lost"] + outcomes["broken"]
    assert served_ <= sum(outcomes.values()) - outcomes["refused"], "one is not counted"
    # A request that is counted without an answer was under way during a kill.
    assert outcomes["lost"] <= 10 // 2 * 16


@pytest.mark.parametrize(
    ("prompt", "outcome"),
    [("slow", "done"), pytest.param("stalled", "broken", marks=pytest.mark.long)],
)
@pytest.mark.long
def test_a_stop_lets_streams_end_for_a_while_and_counts_them(
    alice: Hive, prompt: str, outcome: str
) -> None:
    before, counted = last_served(alice), last_request(alice)
    running = start_load(alice, 2, f"play {prompt}-stream")
    until_served(alice, before, 2)
    alice.run("systemctl", "stop", GATEWAY)
    assert [answer["whole"] for answer in ended(running)] == [outcome == "done"] * 2
    under_way = requests(alice, counted)
    assert [one["outcome"] for one in under_way] == [outcome] * 2
    assert all(one["output_tokens"] for one in under_way)
    assert total(alice)["reserved_tokens"] == 0
    [answer] = load(alice, 1, 1, "play short-turn")
    assert answer["whole"], "the next request starts the gateway"


@pytest.mark.long
def test_the_gateway_ends_when_nobody_needs_it_and_loses_no_request(alice: Hive) -> None:
    [answer] = load(alice, 1, 1, "play short-turn")
    assert answer["whole"]
    # Claude Code may keep a connection for a while, which the gateway closes after a minute.
    alice.until_unit(GATEWAY, ActiveState="inactive", timeout=400)
    assert alice.run("systemctl", "is-failed", GATEWAY, check=False).stdout == "inactive\n"
    answers = load(alice, 8, 1, "play short-turn")
    assert all(answer["whole"] for answer in answers)


FOLDER = "/var/lib/hyperhive/ledger"
SMALL = f"""
set -e
systemctl stop {LEDGER}
cp -a {FOLDER} {FOLDER}.kept
mount -t tmpfs -o size=32m,mode=0700 none {FOLDER}
cp -a {FOLDER}.kept/. {FOLDER}/
systemctl start {LEDGER}
"""
LARGE = f"""
systemctl stop {LEDGER}
rm -rf {FOLDER}.kept
cp -a {FOLDER} {FOLDER}.kept
umount {FOLDER}
cp -a {FOLDER}.kept/. {FOLDER}/
rm -rf {FOLDER}.kept
systemctl start {LEDGER}
"""


@pytest.fixture
def small_disk(alice: Hive) -> Iterator[Hive]:
    """Put the ledger on a disk of its own."""
    alice.run("sh", "-c", SMALL)
    yield alice
    alice.run("rm", "-f", f"{FOLDER}/filler")
    alice.run("sh", "-c", LARGE)


@pytest.mark.long
def test_a_full_disk_of_the_ledger_lets_nothing_out_and_loses_nothing(small_disk: Hive) -> None:
    hive = small_disk
    before, counted = last_served(hive), last_request(hive)
    running = start_load(hive, 2, "play slow-stream")
    until_served(hive, before, 2)
    hive.run("sh", "-c", f"cat /dev/zero > {FOLDER}/filler", check=False)
    status, said = gateway.claude(hive, "play short-turn")
    assert (status, "API Error" in said) == (1, True), said
    assert "the ledger, which counts requests, does not answer" in said
    assert [answer["whole"] for answer in ended(running)] == [True, True]
    assert of_the_load(hive, before) == 2, "nothing else has left"
    hive.run("rm", f"{FOLDER}/filler")
    [answer] = load(hive, 1, 1, "play short-turn")
    assert answer["whole"]
    hive.run("systemctl", "stop", GATEWAY)  # this waits until the ledger has taken all
    assert [one["outcome"] for one in requests(hive, counted)] == ["done"] * 3
    assert total(hive)["reserved_tokens"] == 0
