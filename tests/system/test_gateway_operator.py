"""The operator's side of the gateway: budgets, refused hosts, credentials, ports, metrics."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.hive import Hive
from tests.system.inside import configured, hivectl, inside, property_of, until_told

pytestmark = pytest.mark.system

HOST = "no.such.host.example"
FETCH = ("curl", "-sS", "--max-time", "30", "--proxy", "http://127.0.0.1:3128", f"http://{HOST}/")
METRICS = "/etc/hyperhive/credentials/dashboard/metrics"
OURS = "/etc/hyperhive/credentials/gateway/agents/alice.cred"


@pytest.fixture
def bob(swarm: Hive) -> Iterator[Hive]:
    """Have bob use some tokens; his budget is as before in the end."""
    swarm.hivectl("send", "bob", "note buy milk")
    until_told(swarm, "operator", "message", "My note says")
    yield swarm
    swarm.hivectl("budget", "bob", "--reset")


def pending(hive: Hive, kind: str, agent: str) -> dict[str, Any]:
    """Return the only thing of a kind that waits for the operator because of an agent."""
    [found] = [
        row
        for row in hivectl(hive, "pending")
        if (row["kind"], row["agent"], row["state"]) == (kind, agent, "pending")
    ]
    return dict(found)


def holds(hive: Hive) -> dict[str, str]:
    return {hold["agent"]: hold["kind"] for hold in hivectl(hive, "holds")}


def test_a_budget_that_is_used_up_holds_until_the_operator_raises_it(bob: Hive) -> None:
    [*_, total] = hivectl(bob, "budget", "bob")
    assert (total["period"], total["spent_tokens"] > 0) == ("total", True)
    bob.hivectl("budget", "bob", "--total-tokens", "1")
    until_told(bob, "operator", "budget-exhausted", "bob")
    assert holds(bob)["bob"] == "budget"
    until_told(bob, "manager", "budget-exhausted", "bob")
    sent = hivectl(bob, "send", "bob", "note buy bread")["id"]
    question = pending(bob, "budget", "bob")["question"]
    [asked] = [one for one in hivectl(bob, "questions") if one["id"] == question]
    assert asked["choices"][0].startswith("raise it by ")
    assert bob.until_settled(sent, "queued") == "queued"
    bob.hivectl("budget", "bob", "--total-tokens", "none")
    assert bob.until_settled(sent) == "acknowledged"
    assert "bob" not in holds(bob)


@pytest.mark.long
def test_what_an_agent_has_spent_outlives_it_until_a_purge(swarm: Hive) -> None:
    swarm.hivectl("spawn", "eve", timeout=120)
    swarm.hivectl("budget", "eve", "--total", "7")
    swarm.hivectl("send", "eve", "what is 700 plus 77")
    until_told(swarm, "operator", "message", "777")
    swarm.hivectl("destroy", "eve", "--yes", timeout=120)
    [*_, spent] = hivectl(swarm, "budget", "eve")
    assert (spent["period"], spent["limit"], spent["spent_tokens"] > 0) == ("total", 7.0, True)
    swarm.hivectl("spawn", "eve", timeout=120)
    assert hivectl(swarm, "budget", "eve")[-1] == spent
    [cost] = hivectl(swarm, "cost", "eve", "--by", "agent")
    assert cost["cost"] == spent["spent"], "all figures are those of the gateway"
    swarm.hivectl("destroy", "eve", "--purge", "--yes", timeout=120)
    assert swarm.hivectl("budget", "eve", check=False).returncode == 3
    assert hivectl(swarm, "usage", "eve"), "what was used is kept"


@pytest.fixture
def fay(swarm: Hive) -> Iterator[str]:
    """An agent of this test alone: others count on what is deployed to theirs."""
    swarm.hivectl("spawn", "fay", timeout=120)
    yield "fay"
    swarm.hivectl("destroy", "fay", "--purge", "--yes", timeout=120)


def test_a_refused_host_is_allowed_at_once_and_without_a_restart(swarm: Hive, fay: str) -> None:
    said = inside(swarm, fay, *FETCH).stdout
    assert f"refused {HOST}:80 for {fay}" in said
    entry = pending(swarm, "egress", fay)
    assert (entry["host"], entry["port"]) == (HOST, 80)
    before = property_of(swarm, fay, "InvocationId")
    allowed = hivectl(swarm, "allow-egress", fay, HOST)
    assert allowed["deployed"]
    until_told(swarm, fay, "egress-decided", f"You may now connect to {HOST}:80.")
    said = inside(swarm, fay, *FETCH).stdout
    assert "refused" not in said, "the name does not exist, which is another sentence"
    assert property_of(swarm, fay, "InvocationId") == before
    [row] = [row for row in hivectl(swarm, "egress", fay) if row["host"] == HOST]
    assert (row["state"], row["refused"] >= 1) == ("allowed", True)
    again = swarm.hivectl("allow-egress", fay, HOST, check=False)
    assert (again.returncode, "already allows" in again.stderr) == (6, True)


def test_a_denied_host_is_not_offered_again(swarm: Hive) -> None:
    url = "http://denied.example/"
    inside(swarm, "bob", *FETCH[:-1], url)
    assert pending(swarm, "egress", "bob")["host"] == "denied.example"
    swarm.hivectl("deny-egress", "bob", "denied.example")
    until_told(swarm, "bob", "egress-decided", "The operator denied you the connection")
    assert "The operator denied bob" in inside(swarm, "bob", *FETCH[:-1], url).stdout
    assert [row for row in hivectl(swarm, "pending") if row["agent"] == "bob"] == []


@pytest.fixture
def secret(swarm: Hive) -> Iterator[str]:
    secret = "sk-ant-api03-of-the-system-test"
    swarm.hivectl("credentials", "set", "alice", input=f"{secret}\n")
    yield secret
    swarm.hivectl("credentials", "remove", "alice", "--yes", check=False)


def test_a_credential_is_encrypted_and_the_gateway_gets_it(swarm: Hive, secret: str) -> None:
    [stored] = [one for one in hivectl(swarm, "credentials", "list") if one["agent"] == "alice"]
    assert (stored["file"], stored["encrypted"], stored["used"]) == (OURS, True, True)
    assert swarm.run("stat", "-c", "%a %U", OURS).stdout == "600 root\n"
    assert secret not in swarm.run("cat", OURS).stdout
    opened = swarm.run("systemd-creds", "decrypt", "--name=own.cred", OURS, "-").stdout
    assert opened == secret
    swarm.run("systemctl", "restart", "hive-gateway@alice.service")
    seen = swarm.run(
        *("systemctl", "show", "--value", "-p", "MainPID", "hive-gateway@alice.service")
    ).stdout.strip()
    path = f"/proc/{seen}/root/run/credentials/hive-gateway@alice.service/own.cred"
    assert swarm.run("cat", path).stdout == secret
    assert secret not in inside(swarm, "alice", "env").stdout
    swarm.hivectl("credentials", "remove", "alice", "--yes")
    assert swarm.run("test", "-e", OURS, check=False).returncode == 1


@pytest.fixture
def token(swarm: Hive) -> Iterator[str]:
    swarm.run("sh", "-c", f"umask 077; echo a-token-of-the-test > {METRICS}")
    swarm.run("systemctl", "restart", "hive-dashboard")
    yield "a-token-of-the-test"
    swarm.run("rm", "-f", METRICS)
    swarm.run("systemctl", "restart", "hive-dashboard")


@pytest.mark.long
def test_prometheus_reads_the_metrics_with_its_token(swarm: Hive, token: str) -> None:
    url = f"http://127.0.0.1:{swarm.ports.dashboard}/metrics"
    head = ("curl", "-s", "--max-time", "20")
    assert swarm.run(*head, "-o", "/dev/null", "-w", "%{http_code}", url).stdout == "401"
    sent = hivectl(swarm, "send", "alice", "what is 600 plus 66")["id"]
    assert swarm.until_settled(sent) == "acknowledged"
    text = swarm.run(*head, "-f", "-H", f"Authorization: Bearer {token}", url).stdout
    value = re.search(r'^hyperhive_agent_cpu_seconds_total\{agent="alice"\} (\S+)$', text, re.M)
    assert value
    assert float(value[1]) > 0
    if "memory" in swarm.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split():
        assert 'hyperhive_agent_memory_bytes{agent="alice"}' in text
    assert 'hyperhive_agent_state{agent="alice",state="running"} 1.0' in text
    assert re.search(r'hyperhive_messages_total\{inbox="alice",state="acknowledged"\}', text)
    assert re.search(r'hyperhive_tokens_total\{agent="alice",kind="output",model="[^"]+"\}', text)
    for service in ("broker", "lifecycle", "approvals", "ledger"):
        assert f'hyperhive_service_up{{service="{service}"}} 1.0' in text


SERVER = "python3 -m http.server --bind 127.0.0.1 3000 --directory /etc/hyperhive"


@pytest.mark.long
def test_a_port_of_a_container_is_forwarded(swarm: Hive) -> None:
    with configured(swarm, "dev", "ports = [3000]\n", {}):
        inside(swarm, "dev", "systemd-run", "--unit=server", "--quiet", *SERVER.split())
        inside(swarm, "dev", "sh", "-c", "until curl -s 127.0.0.1:3000 >&2; do sleep 0.1; done")
        with swarm.popen("hivectl", "forward", "dev", "3000", "--local", "3999", "--json") as led:
            assert led.stdout is not None
            assert led.stdin is not None
            assert led.stdout.readline() == "{\n"
            found = swarm.run("curl", "-sf", "--max-time", "20", "http://127.0.0.1:3999/").stdout
            assert "harness.json" in found
            led.kill()
        closed = swarm.hivectl("forward", "dev", "3001", check=False)
        assert (closed.returncode, "agent.toml has 3000. Add 3001" in closed.stderr) == (5, True)
