"""Bad input is answered with a sentence, and everything else goes on."""

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, hivectl, mcp, refused

pytestmark = pytest.mark.system

MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def _everything_else_goes_on(swarm: Hive) -> object:
    """Check after each test that the same processes serve, and that alice can send."""

    def pids() -> list[str]:
        units = ["hive-broker", "hive-lifecycle", "hive-approvals", "hive-agent@alice.service"]
        return swarm.run("systemctl", "show", "--value", "-p", "MainPID", *units).stdout.split()

    # Services that earlier tests have stopped may not be back yet.
    swarm.run("systemctl", "start", "hive-broker", "hive-lifecycle", "hive-approvals")
    call(swarm, "alice", "list_agents")
    before = pids()
    yield
    assert not refused(call(swarm, "alice", "send", to="operator", body="still here"))
    assert pids() == before, "a service did not survive it"


@pytest.mark.parametrize("name", ["much-too-long", "Alice", "../x", "", "1st", "a b", "operator"])
def test_a_bad_name_is_refused_with_the_rule(swarm: Hive, name: str) -> None:
    done = swarm.run("hivectl", "spawn", "--", name, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "name" in done.stderr or "called" in done.stderr
    assert len(hivectl(swarm, "list")) == 3


def test_a_name_that_is_taken_is_refused(swarm: Hive) -> None:
    done = swarm.run("hivectl", "spawn", "alice", check=False)
    assert done.returncode != 0
    assert "alice" in done.stderr


def test_an_unknown_recipient_is_named(swarm: Hive) -> None:
    done = swarm.run("hivectl", "send", "nobody", "hello", check=False)
    assert done.returncode != 0
    assert "nobody" in done.stderr
    answer = call(swarm, "alice", "send", to="nobody", body="hello")
    assert refused(answer)
    assert "nobody" in str(answer)


def test_a_body_of_ten_megabytes_is_refused(swarm: Hive) -> None:
    done = swarm.run("hivectl", "send", "alice", "-", input="x" * 10 * MEGABYTE, check=False)
    assert done.returncode != 0
    assert "byte" in done.stderr or "MiB" in done.stderr
    frame = {
        "repeat": "x",
        "times": 10 * MEGABYTE,
    }
    answers = mcp(swarm, "alice", raw=[frame])
    assert answers[0] is None or "error" in answers[0] or isinstance(answers[0], str)


def test_malformed_json_is_a_parse_error(swarm: Hive) -> None:
    answers = mcp(swarm, "alice", raw=["{nonsense", "[1,2", '"\udcff\udcfe"', "null"])
    assert all("error" in answer for answer in answers if answer is not None)
    assert answers[0]["error"]["code"] == -32700


def test_deep_nesting_is_refused(swarm: Hive) -> None:
    for opening in ("[", '{"a":'):
        answers = mcp(swarm, "alice", raw=[{"repeat": opening, "times": 100_000}])
        assert answers[0] is None or "error" in answers[0]


def test_half_a_line_harms_nobody(swarm: Hive) -> None:
    mcp(swarm, "alice", raw=['{"jsonrpc": "2.0", "id": 1, "meth'], half=True)


def test_a_thousand_connections_do_not_shut_the_agent_out(swarm: Hive) -> None:
    outcome = mcp(swarm, "alice", flood=1000)
    assert outcome["connected"] + outcome["refused"] == 1000


def test_an_unknown_signature_is_answered_with_an_error(swarm: Hive) -> None:
    target = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]
    for arguments in (["Send", "i", "5"], ["Send", "ssa{sv}s", "a", "b", "0", "c"], ["Sing"]):
        done = swarm.run("busctl", "call", *target, *arguments, check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "line " not in done.stderr
