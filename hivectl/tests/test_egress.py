"""The hosts that agents reach: shown, allowed, denied, and offered in `pending`."""

from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from hivectl.tests.test_budgets import HIVE
from hivectl.tests.test_terminal import terminal
from hivectl.tests.test_turns import STARTED, words
from wire.errors import Unavailable
from wire.records.approvals import NO_JOB
from wire.records.ledger import Egress, EgressState
from wire.records.lifecycle import JobResult


def host(name: str, port: int = 443, **values: Any) -> Egress:
    base = Egress("alice", name, port, EgressState.PENDING, STARTED, STARTED, refused=3)
    return base._replace(**values)


REACHED = host(
    "pypi.org", state=EgressState.NONE, allowed=12, refused=0, sent=2048, received=3 * 2**20
)


async def test_hosts_are_a_table(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.hosts = [
        REACHED,
        host("github.com", last=STARTED + 60_000_000, reason="to clone\nthe tool"),
        host("10.1.2.3", 8080, agent="bob-2", state=EgressState.DENIED),
    ]
    head, first, second, third, reason = (await hivectl("egress")).out.splitlines()
    assert words(head) == "LAST AGENT STATE OK NO FAIL SENT RECEIVED HOST"
    assert {words(line) for line in (first, second)} == {
        "2023-11-14 22:13 alice - 12 0 0 2.0 KiB 3.0 MiB pypi.org:443",
        "2023-11-14 22:13 bob-2 denied 0 3 0 0 B 0 B 10.1.2.3:8080 "
        "[an address of a private network or of this host]",
    }
    assert words(third) == "2023-11-14 22:14 alice pending 0 3 0 0 B 0 B github.com:443"
    assert reason.strip() == "to clone the tool"
    assert reason.index("to clone") > head.index("HOST")
    [one] = (await hivectl("egress", "alice", "--pending", "--json")).json
    assert one == {
        "agent": "alice",
        "host": "github.com",
        "port": 443,
        "state": "pending",
        "first": "2023-11-14T22:13:20.000000Z",
        "last": "2023-11-14T22:14:20.000000Z",
        "allowed": 0,
        "refused": 3,
        "failed": 0,
        "sent": 0,
        "received": 0,
        "reason": "to clone\nthe tool",
        "decided": None,
    }
    hive.ledger.hosts = [host("*", 0, state=EgressState.NONE, refused=900)]
    assert (await hivectl("egress")).out.splitlines()[1].endswith(" other hosts")
    hive.ledger.hosts = []
    assert (await hivectl("egress")).out == "no connections are recorded\n"
    assert (await hivectl("egress", "--pending")).out == "no hosts wait for a decision\n"
    assert (await hivectl("egress", "Bob")).code == Exit.USAGE


async def test_the_host_itself_is_not_taken_for_the_container(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.ledger.hosts = [host("127.0.0.1", 3000, reason="my own dev server")]
    warned = "127.0.0.1:3000 [this host itself, not the agent's container]"
    assert warned in (await hivectl("egress")).out
    assert f"{warned} (my own dev server)" in (await hivectl("pending")).out


async def test_a_host_is_allowed_for_good(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("allow-egress", "alice", "GitHub.com")
    assert ran.out == "request 8 allows github.com to alice, and holds now\n"
    await hivectl("allow-egress", "alice", "[fd00::1]:8080", "-m", "the test server")
    hive.ledger.hosts = [host("github.com", 22)]
    await hivectl("allow-egress", "alice", "pypi.org", "--message", "the packages")
    ran = await hivectl("allow-egress", "alice", "github.com")
    assert ran.err == "Port 22 still waits for you: hivectl allow-egress alice github.com:22\n"
    hive.lifecycle.result = (JobResult.FAILED, "git has no room")
    ran = await hivectl("allow-egress", "alice", "github.com")
    assert (ran.code, "git has no room" in ran.err) == (Exit.FAILED, True)
    hive.approvals.allow_job = NO_JOB
    ran = await hivectl("allow-egress", "alice", "*.pythonhosted.org:443")
    assert ran.out == (
        "request 8 allows *.pythonhosted.org:443 to alice and waits: hivectl diff 8\n"
    )
    ran = await hivectl("allow-egress", "alice", "*", "--json")
    assert ran.json == {"agent": "alice", "rule": "*", "request": 8, "deployed": False}
    assert [call[2:] for call in hive.approvals.calls] == [
        ("github.com", "The operator allows github.com."),
        ("[fd00::1]:8080", "the test server"),
        ("pypi.org", "the packages"),
        *[("github.com", "The operator allows github.com.")] * 2,
        ("*.pythonhosted.org:443", "The operator allows *.pythonhosted.org:443."),
        ("*", "The operator allows *."),
    ]
    assert hive.ledger.calls == []


async def test_a_host_is_allowed_once_or_denied(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.hosts = [
        host("github.com", 22),
        host("github.com", 443),
        host("github.com", 80, state=EgressState.DENIED),
        host("github.com", 8443, agent="bob-2"),
    ]
    ran = await hivectl("allow-egress", "alice", "github.com", "--once")
    assert ran.code == Exit.USAGE
    assert "alice asks for several ports of github.com: 22, 443. Name one" in ran.err
    assert hive.ledger.calls == []
    ran = await hivectl("allow-egress", "alice", "github.com:22", "--once")
    assert ran.out == "github.com:22 is allowed once to alice\n"
    assert (await hivectl("deny-egress", "alice", "github.com:80")).out == (
        "github.com:80 is denied to alice\n"
    )
    ran = await hivectl("deny-egress", "alice", "example.org", "--json")
    assert ran.json == [{"agent": "alice", "host": "example.org", "port": 443, "decision": "deny"}]
    assert [call[1:] for call in hive.ledger.calls] == [
        ("alice", "github.com", 22, "once"),
        ("alice", "github.com", 80, "deny"),
        ("alice", "example.org", 443, "deny"),
    ]
    assert hive.approvals.calls == []


@pytest.mark.parametrize("typed", ["", "a b", "github.com:0", "github.com:65536", "x/y", "fd00::1"])
async def test_a_text_that_is_not_a_host_decides_nothing(
    hive: FakeHive, hivectl: Hivectl, typed: str
) -> None:
    for command in ("allow-egress", "deny-egress"):
        assert (await hivectl(command, "alice", typed)).code == Exit.USAGE
    assert (hive.approvals.calls, hive.ledger.calls) == ([], [])


async def test_pending_offers_refused_hosts_and_budgets(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.hosts = [REACHED, host("github.com", reason="to clone")]
    hive.ledger.budgets = [HIVE]
    lines = (await hivectl("pending")).out.splitlines()
    assert lines[1].split()[:3] == ["7", "spawn", "carol"]
    assert lines[3] == "refused hosts:"
    assert words(lines[5]) == "alice 3 times 2023-11-14 22:13 github.com:443 (to clone)"
    assert lines[7:] == [
        "budgets that are used up:",
        "hive, week: 2.0M of 2.0M tokens; `hivectl answer 12` answers the question about it",
    ]
    found = (await hivectl("pending", "--json")).json
    assert [entry["kind"] for entry in found] == ["spawn", "egress", "budget"]
    assert (found[1]["host"], found[2]["question"], found[2]["of"]) == ("github.com", 12, "hive")
    assert all(entry.keys() >= found[0].keys() for entry in found)
    assert [entry["state"] for entry in found] == ["pending"] * 3
    hive.approvals.requests = []
    hive.ledger.budgets = []
    assert (await hivectl("pending")).out.startswith("refused hosts:\n")


async def test_pending_does_without_the_ledger(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.error = Unavailable("hive-ledger.service is stopped.")
    for extra in ([], ["--json"]):
        ran = await hivectl("pending", *extra)
        assert (ran.code, "carol" in ran.out) == (Exit.OK, True)
        assert ran.err == (
            "Refused hosts and budgets are not known: hive-ledger.service is stopped.\n"
        )


async def test_hostile_words_do_not_steer_the_terminal(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.hosts = [host(HOSTILE, reason=HOSTILE)]
    for command in (["egress"], ["pending"]):
        for extra in ([], ["--json"]):
            ran = await hivectl(*command, *extra)
            assert "evil" in ran.out
            assert_harmless(ran.out)
            assert_indented(ran.out)


@pytest.mark.parametrize("columns", [80, 132])
async def test_tables_fit_the_terminal(
    hive: FakeHive, environment: dict[str, str], columns: int
) -> None:
    hive.ledger.hosts = [host("h" * 200, received=10**14, sent=10**14, reason="r" * 300)]
    async with terminal(environment, "egress", COLUMNS=str(columns), NO_COLOR="1") as shown:
        code, text = await shown.end()
    assert code == 0
    assert max(map(len, text.splitlines())) <= columns, text


async def test_refused_hosts_are_completed(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.ledger.hosts = [host("github.com"), host("pypi.org", agent="bob-2"), REACHED]
    asked = {"_HIVECTL_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    ran = await hivectl(**asked, COMP_WORDS="hivectl deny-egress alice ")
    assert ran.out == "plain,github.com:443\n"


async def test_a_narrow_terminal_hides_no_host(hive: FakeHive, environment: dict[str, str]) -> None:
    hive.ledger.hosts = [host("objects.githubusercontent.com", 22, reason="to clone the tool")]
    for command in ("egress", "pending"):
        async with terminal(environment, command, COLUMNS="60", NO_COLOR="1") as shown:
            _code, text = await shown.end()
        assert [line for line in text.splitlines() if "  objects.githubusercontent.com:22" in line]
        assert [line for line in text.splitlines() if "to clone the tool" in line]
