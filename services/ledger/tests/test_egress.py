"""Hosts: what is counted, what the operator is asked, and what an answer allows."""

from contextlib import nullcontext, suppress
from typing import Any
from unittest.mock import Mock

import pytest

from services.ledger.egress import hosts
from services.ledger.tests.conftest import DAY, NOON, SECOND, Room
from wire.errors import Conflict, InvalidArgument, LimitExceeded
from wire.records.ledger import Egress, EgressState


def report(room: Room, host: str = "github.com", agent: str = "alice", **more: Any) -> None:
    room.hosts.report(agent, {"host": host, "port": 443, "outcome": "allowed", **more})


def refuse(room: Room, host: str = "github.com", port: int = 443, agent: str = "alice") -> bool:
    """Let a gateway ask for a connection that no rule allows."""
    return room.hosts.check(agent, host, port, "", gateway=True)


def ask(room: Room, host: str = "github.com", port: int = 443, reason: str = "to clone") -> bool:
    return room.hosts.check("alice", host, port, reason, gateway=False)


async def listed(room: Room, **filter: Any) -> list[Egress]:
    return await room.hosts.list(filter, 1000)


async def states(room: Room) -> dict[str, str]:
    return {f"{one.host}:{one.port}": one.state for one in await listed(room)}


async def test_connections_are_counted(room: Room) -> None:
    report(room, "GitHub.com.", connections=2, sent=10, received=20)
    room.now += SECOND
    report(room, sent=1, received=2)
    report(room, outcome="failed", connections=3)
    [entry] = await listed(room)
    assert entry == Egress(
        agent="alice",
        host="github.com",
        port=443,
        state=EgressState.NONE,
        first=NOON,
        last=NOON + SECOND,
        allowed=3,
        failed=3,
        sent=11,
        received=22,
    )
    room.reopen()
    assert await listed(room) == [entry]


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "alice", "127.0.0.2", "::1", "::"])
async def test_the_operator_is_not_asked_about_the_container_itself(room: Room, host: str) -> None:
    """An operator who allows its agent a localhost would open that of the gateway."""
    assert [refuse(room, host) for _ in range(2)] == [False, False]
    [entry] = await listed(room)
    assert (entry.state, entry.refused) == (EgressState.NONE, 2)
    assert not ask(room, host), "an agent that says why may mean it"
    assert await states(room) == {f"{entry.host}:443": "pending"}
    room.hosts.decide("alice", host, 443, "once")
    assert refuse(room, host)
    assert not refuse(room, host)


async def test_a_repeated_request_does_not_keep_the_disk_busy(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = Mock(wraps=room.database.write)
    monkeypatch.setattr(room.database, "write", durable)
    assert [ask(room) for _ in range(3)] == [False] * 3
    assert durable.call_count == 1


async def test_repeated_refusals_are_one_request_with_a_count(room: Room) -> None:
    assert [refuse(room) for _ in range(3)] == [False] * 3
    refuse(room, agent="bob")
    refuse(room, port=80)
    [pending] = await listed(room, agent="bob")
    assert (pending.state, pending.refused) == (EgressState.PENDING, 1)
    [entry] = [one for one in await listed(room, agent="alice") if one.port == 443]
    assert (entry.state, entry.refused) == (EgressState.PENDING, 3)
    assert [urgent for _, urgent in room.hosts_heard] == [True, False, False, True, True]


async def test_allowed_once_is_one_connection(room: Room) -> None:
    refuse(room)
    room.hosts.decide("alice", "github.com", 443, "once")
    assert ask(room), "asking does not use it up"
    assert refuse(room)
    assert not refuse(room)
    assert await states(room) == {"github.com:443": "pending"}


async def test_allowed_once_is_not_used_twice_after_a_crash(room: Room) -> None:
    room.hosts.decide("alice", "github.com", 443, "once")
    assert refuse(room)
    room.reopen()
    assert not refuse(room)


async def test_denied_stays_denied(room: Room) -> None:
    ask(room, reason=" to\nclone\x1b[31m " + "x" * 400)
    [entry] = await listed(room)
    assert entry.reason.startswith("to clone [31m xxx")
    assert len(entry.reason) == 300
    room.hosts.decide("alice", "github.com", 443, "deny")
    for again in (refuse, ask):
        with pytest.raises(Conflict, match=r"denied alice the connection to github\.com:443"):
            again(room)
    [entry] = await listed(room)
    assert (entry.state, entry.refused, entry.decided) == (EgressState.DENIED, 1, NOON)
    room.hosts.decide("alice", "github.com", 443, "once")
    assert refuse(room)


@pytest.mark.parametrize(
    ("rule", "decided"),
    [
        ("api.github.com:443", {"api.github.com:443"}),
        ("API.github.com:22", {"api.github.com:22"}),
        ("api.github.com", {"api.github.com:443"}),
        ("*.github.com:443", {"api.github.com:443"}),
        ("10.1.2.3", {"10.1.2.3:443"}),
        ("*:443", {"api.github.com:443", "github.com:443", "xgithub.com:443"}),
    ],
)
async def test_rules_that_hold_decide_what_they_match(
    room: Room, rule: str, decided: set[str]
) -> None:
    for name, number in (
        ("10.1.2.3", 443),
        ("api.github.com", 443),
        ("api.github.com", 22),
        ("github.com", 443),
        ("xgithub.com", 443),
    ):
        refuse(room, name, number)
    refuse(room, agent="bob")
    room.hosts.apply("alice", ["pypi.org", rule])
    found = await listed(room, agent="alice", state="allowed")
    assert {f"{one.host}:{one.port}" for one in found} == decided
    assert all(one.decided == NOON for one in found)
    assert len(await listed(room, state="pending")) == 6 - len(decided)
    with pytest.raises(InvalidArgument, match="not a valid rule"):
        room.hosts.apply("alice", ["git hub.com"])


def told(room: Room) -> list[tuple[str, str, str]]:
    with room.database.look() as db:
        return [tuple(row) for row in db.execute("SELECT recipient, kind, body FROM notice")]


async def test_an_agent_is_told_what_was_decided(room: Room) -> None:
    heard: list[int] = []
    room.hosts.on_notice = lambda: heard.append(len(told(room)))
    for port in (443, 80):
        refuse(room, port=port)
    ask(room, "denied.org")
    refuse(room, "once.org", 22)
    room.hosts.apply("alice", ["github.com"])
    room.hosts.decide("alice", "denied.org", 443, "deny")
    room.hosts.decide("alice", "once.org", 22, "once")
    bodies = [
        "You may now connect to github.com:80 and github.com:443.",
        "The operator denied you the connection to denied.org:443. Do not ask again; find another "
        "way.",
        "The operator allows you one connection to once.org:22. Make it now.",
    ]
    assert sorted(told(room)) == sorted(("alice", "egress-decided", body) for body in bodies)
    assert heard == [1, 2, 3]
    room.hosts.apply("alice", ["github.com", "denied.org"])  # it was denied, and is allowed now
    assert told(room)[-1][2] == "You may now connect to denied.org:443."
    room.hosts.apply("alice", ["github.com", "denied.org"])
    room.hosts.decide("alice", "unasked.org", 443, "deny")
    room.hosts.apply("alice", ["github.com", "new.org"])
    assert len(told(room)) == 4, "nothing is told of hosts for which the agent does not wait"


async def test_a_host_that_a_rule_allows_cannot_be_denied(room: Room) -> None:
    refuse(room)
    room.hosts.apply("alice", ["*.github.com", "github.com"])
    with pytest.raises(Conflict, match=r"The rule \*\.github\.com allows api\.github\.com:443"):
        room.hosts.decide("alice", "api.github.com", 443, "deny")
    room.hosts.decide("alice", "github.com", 443, "once")
    assert await states(room) == {"github.com:443": "allowed"}
    assert ask(room), "an agent that asks needs no answer"


async def test_a_purge_forgets_the_hosts_and_the_decisions(room: Room) -> None:
    refuse(room)
    refuse(room, agent="bob")
    room.hosts.decide("alice", "denied.org", 443, "deny")
    room.hosts_heard.clear()
    room.ledger.forget("alice")
    assert [one.agent for one in await listed(room)] == ["bob"]
    assert {(one.host, one.state) for one, _ in room.hosts_heard} == {
        ("github.com", "none"),
        ("denied.org", "none"),
    }


async def test_a_connection_that_a_rule_allows_answers_the_request(room: Room) -> None:
    refuse(room)
    report(room)
    assert await states(room) == {"github.com:443": "allowed"}
    refuse(room)
    assert await states(room) == {"github.com:443": "pending"}, "the rule is gone again"


async def test_an_agent_cannot_fill_the_disk_or_the_page(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "MAX_PENDING", 2)
    monkeypatch.setattr(hosts, "MAX_ENTRIES", 4)
    room.hosts.decide("alice", "denied.org", 443, "deny")
    for number in range(20):
        room.now += SECOND
        with pytest.raises(LimitExceeded, match="wait") if number > 1 else nullcontext():
            refuse(room, f"host{number}.org")
    assert len(await listed(room, state="pending")) == 2
    assert len([one for one in await listed(room) if one.host != "*"]) == 4
    assert len(await listed(room, state="denied")) == 1, "decisions stay"
    ask(room, "host0.org")
    refuse(room, agent="bob")
    assert len(await listed(room, agent="bob", state="pending")) == 1


@pytest.mark.parametrize("host", ["", "a b", "http://x", "x" * 300, "*.github.com", "-x.org"])
async def test_hosts_are_checked(room: Room, host: str) -> None:
    with pytest.raises(InvalidArgument):
        refuse(room, host)
    with pytest.raises(InvalidArgument):
        report(room, host)
    with pytest.raises(InvalidArgument):
        room.hosts.decide("alice", host, 443, "once")


async def test_other_values_are_checked(room: Room) -> None:
    with pytest.raises(InvalidArgument, match="port"):
        refuse(room, port=0)
    with pytest.raises(InvalidArgument, match="decision"):
        room.hosts.decide("alice", "github.com", 443, "perhaps")
    with pytest.raises(InvalidArgument, match="agent name"):
        room.hosts.decide("Alice", "github.com", 443, "once")
    with pytest.raises(InvalidArgument, match="limit"):
        await room.hosts.list({}, 1001)
    with pytest.raises(InvalidArgument, match="state"):
        await listed(room, state="lost")


async def test_addresses_are_hosts(room: Room) -> None:
    refuse(room, "10.1.2.3", 8080)
    refuse(room, "[FD00::1]", 8080)
    assert {one.host for one in await listed(room)} == {"10.1.2.3", "fd00::1"}


async def test_hosts_are_filtered_and_deleted(room: Room) -> None:
    report(room, "old.org")
    room.now += DAY
    report(room, "new.org")
    assert [one.host for one in await listed(room)] == ["new.org", "old.org"]
    assert [one.host for one in await listed(room, since=NOON + 1)] == ["new.org"]
    room.now += 90 * DAY - SECOND
    assert await room.ledger.vacuum() == 1
    assert [one.host for one in await listed(room)] == ["new.org"]


async def test_what_an_agent_asks_for_comes_before_what_was_refused(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "MAX_PENDING", 2)
    refuse(room, "junk1.org")
    room.now += SECOND
    refuse(room, "junk2.org")
    ask(room, "needed.org")
    pending = {one.host for one in await listed(room, state="pending")}
    assert pending == {"junk2.org", "needed.org"}
    assert ("junk1.org", EgressState.NONE, True) in [
        (entry.host, entry.state, urgent) for entry, urgent in room.hosts_heard
    ]
    ask(room, "junk2.org", reason="it is needed, too")
    with pytest.raises(LimitExceeded, match="wait for the operator"):
        ask(room, "another.org")
    room.hosts.decide("alice", "needed.org", 443, "deny")
    ask(room, "another.org")


async def test_invented_hosts_push_out_neither_traffic_nor_decisions(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "MAX_PENDING", 2)
    monkeypatch.setattr(hosts, "MAX_ENTRIES", 6)
    report(room, "drop.example", sent=10**9)
    room.hosts.decide("alice", "denied.org", 443, "deny")
    for number in range(30):
        room.now += SECOND
        with suppress(LimitExceeded):
            refuse(room, f"refused{number}.org")
    for number in range(30):
        room.now += SECOND
        report(room, f"sub{number}.drop.example", sent=1, received=2)
    found = {one.host: one for one in await listed(room)}
    assert found["drop.example"].sent == 10**9
    assert found["denied.org"].state is EgressState.DENIED
    assert sum(one.state is EgressState.PENDING for one in found.values()) == 2
    assert len(found) == 7
    assert found["*"][:4] == ("alice", "*", 0, EgressState.NONE)
    assert sum(one.refused for one in found.values()) == 30, "nothing is lost in the sums"
    assert sum(one.sent for one in found.values()) == 10**9 + 30
    assert sum(one.received for one in found.values()) == 60
    room.hosts.apply("alice", ["*"])
    assert [one.state for one in await listed(room) if one.host == "*"] == [EgressState.NONE]


async def test_agents_that_ask_for_much_do_not_hide_others(room: Room) -> None:
    refuse(room, "needed.org", agent="zoe")
    for agent in ("alice", "bob"):
        for number in range(50):
            room.now += SECOND
            refuse(room, f"junk{number}.org", agent=agent)
    found = await room.hosts.list({"state": "pending"}, 21)
    assert [one.agent for one in found].count("zoe") == 1
    assert [one.agent for one in found].count("alice") == 10
    assert [one.last for one in found] == sorted((one.last for one in found), reverse=True)


async def test_counts_of_a_host_do_not_overflow(room: Room) -> None:
    for outcome in ("allowed", "failed", "refused"):
        report(room, outcome=outcome, connections=2**31, sent=2**50, received=2**50)
    with room.database.write() as db:
        db.execute("UPDATE egress SET allowed = ?, sent = ?", (hosts.MOST - 1, hosts.MOST - 1))
    report(room, connections=2**31, sent=2**50)
    [entry] = await listed(room)
    assert (entry.allowed, entry.sent) == (hosts.MOST, hosts.MOST)
