"""The limits of the provider, and fair shares of what remains."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.limits.limits import LONGEST
from services.ledger.limits.shares import WINDOW, Shares
from services.ledger.tests.conftest import DAY, NOON, SECOND, Room
from wire.errors import ProviderLimited
from wire.records.ledger import AgentLimited, ProviderLimit, ProviderLimitChanged

MINUTE = 60 * SECOND


def limited(room: Room, until: int, agent: str = "alice", **more: int) -> None:
    number = room.reserve(agent)
    room.settle(number, agent, outcome="failed", status=429, limited_until=until, **more)


async def test_a_limit_stops_all_who_share_the_credential(room: Room) -> None:
    told: list[AgentLimited] = []
    changed: list[ProviderLimitChanged] = []
    room.requests.limits.on_agent = told.append
    room.requests.limits.on_limit = changed.append
    room.spend(0, "bob")
    room.spend(0, "carol", credential="agent:carol")
    until = NOON + MINUTE
    limited(room, until)
    assert changed == [("default", until)]
    assert told == [("alice", until), ("bob", until)]
    with pytest.raises(ProviderLimited, match="default until 2025-11-29 12:01:00 UTC"):
        room.reserve("bob")
    assert room.ledger.limited_until("bob") == until
    assert room.ledger.limited_until("carol") == 0
    room.spend(0, "carol", credential="agent:carol")
    room.now = until
    room.spend(0, "bob")
    assert room.ledger.limited_until("bob") == 0


async def test_who_comes_to_a_limited_credential_is_told(room: Room) -> None:
    told: list[AgentLimited] = []
    room.requests.limits.on_agent = told.append
    until = NOON + MINUTE
    limited(room, until)
    room.reopen()
    room.requests.limits.on_agent = told.append
    for _ in range(2):
        with pytest.raises(ProviderLimited):
            room.reserve("bob")
    assert told == [("alice", until), ("bob", until)]
    assert room.ledger.limited_until("bob") == until, "so that its gateway says when to try again"
    assert room.ledger.list_limits()[0].agents == ("alice", "bob")
    room.reserve("alice", credential="agent:alice")
    assert told[2:] == [("alice", 0)]
    room.now = until
    room.reserve("carol")
    room.reserve("alice")
    assert told[3:] == []


async def test_a_limit_outlives_the_ledger_and_can_be_lifted(room: Room) -> None:
    limited(room, NOON + MINUTE)
    room.reopen()
    with pytest.raises(ProviderLimited):
        room.reserve()
    told: list[AgentLimited] = []
    room.requests.limits.on_agent = told.append
    room.requests.lift_limits()
    assert told == [("alice", 0)]
    room.spend(0)
    room.reopen()
    room.spend(0)


async def test_what_was_known_of_a_credential_is_deleted_one_day(room: Room) -> None:
    limited(room, NOON + MINUTE)
    room.now += 60 * DAY
    room.settle(room.reserve("bob", credential="agent:bob"), "bob", remaining_requests=10)
    room.now += 31 * DAY
    assert await room.ledger.vacuum() == 2, "the limit, and the request"
    assert [limit.credential for limit in room.ledger.list_limits()] == ["agent:bob"]
    room.reopen()
    assert [limit.credential for limit in room.ledger.list_limits()] == ["agent:bob"]


async def test_a_shorter_limit_does_not_end_a_longer_one(room: Room) -> None:
    slow = room.reserve()
    limited(room, NOON + MINUTE)
    room.settle(slow, limited_until=NOON + SECOND)
    assert room.ledger.limited_until("alice") == NOON + MINUTE


async def test_a_limit_of_years_is_not_believed(room: Room) -> None:
    limited(room, NOON + 100 * LONGEST)
    assert room.ledger.limited_until("alice") == NOON + LONGEST


async def test_a_clock_that_was_years_ahead_limits_nobody_for_years(room: Room) -> None:
    room.now += 100 * LONGEST
    limited(room, room.now + MINUTE)
    room.now -= 100 * LONGEST
    room.spend(0)
    assert room.ledger.limited_until("alice") == 0


async def test_use_from_before_the_clock_was_set_back_is_forgotten(room: Room) -> None:
    room.now += DAY
    for _ in range(18):
        told(room, room.reserve("alice"), "alice")
    room.now -= DAY
    told(room, room.reserve("bob"), "bob", remaining_requests=2)
    room.reserve("alice")


def told(room: Room, number: int, agent: str, **remaining: int) -> None:
    room.settle(number, agent, output_tokens=0, **remaining)


async def test_while_little_remains_agents_share_it(room: Room) -> None:
    for _ in range(18):
        told(room, room.reserve("alice"), "alice")
    told(room, room.reserve("bob"), "bob", remaining_requests=2)
    with pytest.raises(ProviderLimited, match="alice has used its share"):
        room.reserve("alice")
    assert room.ledger.limited_until("alice") == NOON + MINUTE
    room.reserve("bob")
    room.reserve("carol")
    room.reserve("alice", credential="agent:alice")
    [limit] = room.ledger.list_limits()
    assert limit == ProviderLimit("default", 0, 2, None, 0, NOON, agents=("bob", "carol"))
    room.now += MINUTE + 1
    room.reserve("alice")


async def test_only_other_limits_are_told(room: Room) -> None:
    changed: list[ProviderLimitChanged] = []
    room.requests.limits.on_limit = changed.append
    room.settle(room.reserve(), remaining_requests=10)
    limited(room, NOON + MINUTE)
    room.now += MINUTE
    limited(room, NOON + MINUTE)
    assert changed == [("default", NOON + MINUTE)]


async def test_tokens_are_shared_as_requests_are(room: Room) -> None:
    told(room, room.reserve("alice", output_tokens=9000), "alice")
    bob = room.reserve("bob", output_tokens=100)
    told(room, bob, "bob", remaining_tokens=1000, remaining_until=NOON + 5 * SECOND)
    with pytest.raises(ProviderLimited, match="Try again at 2025-11-29 12:00:05 UTC"):
        room.reserve("alice")
    room.reserve("bob", output_tokens=100)


async def test_nobody_waits_who_is_alone_or_while_much_remains(room: Room) -> None:
    for _ in range(18):
        told(room, room.reserve("alice"), "alice", remaining_requests=1)
    room.reserve("alice")
    told(room, room.reserve("bob"), "bob", remaining_requests=1000)
    room.reserve("alice")


async def test_a_report_is_old_after_a_minute(room: Room) -> None:
    for _ in range(9):
        told(room, room.reserve("alice"), "alice")
    told(room, room.reserve("bob"), "bob", remaining_requests=0)
    room.now += MINUTE // 2
    room.reserve("bob")
    with pytest.raises(ProviderLimited):
        room.reserve("alice")
    room.now += MINUTE // 2
    room.reserve("alice")


USES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, WINDOW), st.integers(0, 9)), max_size=60
)


@given(USES, st.integers(0, 60), st.integers(0, 400))
def test_shares_are_fair(uses: list[tuple[str, int, int]], requests: int, tokens: int) -> None:
    shares, count, used = Shares(), Counter[str](), Counter[str]()
    for agent, at, size in sorted(uses, key=lambda use: use[1]):
        shares.add(agent, size, at)
        count[agent] += 1
        used[agent] += size
    waits = {agent: shares.wait(agent, requests, tokens, WINDOW) for agent in "abcdef"}
    ends = {agent: at for agent, at, _ in sorted(uses, key=lambda use: -use[1])}
    for agent, until in waits.items():
        others = len({*count, agent})
        if until:
            assert until == ends[agent] + WINDOW, "until its oldest request is out of the window"
            assert others > 1, "one that is alone has all"
            assert count[agent] * others >= count.total() or used[agent] * others >= used.total()
    if requests >= count.total() and tokens >= used.total():
        assert not any(waits.values()), "there is enough"
    assert not waits["f"], "one that has used nothing is never refused"
    if requests and tokens:
        # The agent that has used least of both goes on.
        least = [
            agent
            for agent in count
            if count[agent] == min(count.values()) and used[agent] == min(used.values())
        ]
        assert not any(waits[agent] for agent in least)
    assert not any(shares.wait(agent, 0, 0, 3 * WINDOW) for agent in "abcdef")
