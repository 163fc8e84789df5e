"""An agent cannot fill the disk, or an inbox, faster than it is allowed to."""

import pytest

from services.broker.allowance import Allowance
from services.broker.broker import Broker
from services.broker.store import Store
from wire.errors import LimitExceeded
from wire.principal import THE_OPERATOR, Kind, Principal, agent


class Clock:
    """A clock that stands still unless it is moved."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_messages_come_back_evenly(clock: Clock) -> None:
    allowance = Allowance(messages=10, size=10_000, now=clock)
    for _ in range(10):
        allowance.spend("alice", 1)
    with pytest.raises(LimitExceeded, match=r"alice has sent too much.*10 messages.*Wait 360 s"):
        allowance.spend("alice", 1)
    clock.seconds += 359
    with pytest.raises(LimitExceeded, match=r"Wait [12] s"):
        allowance.spend("alice", 1)
    clock.seconds += 2
    allowance.spend("alice", 1)
    with pytest.raises(LimitExceeded):
        allowance.spend("alice", 1)


def test_bytes_count_besides(clock: Clock) -> None:
    allowance = Allowance(messages=10, size=1000, now=clock)
    allowance.spend("alice", 900)
    with pytest.raises(LimitExceeded, match="Wait 360 s"):
        allowance.spend("alice", 200)
    allowance.spend("alice", 100)
    clock.seconds += 1800
    allowance.spend("alice", 500)


def test_what_is_not_used_is_no_more_than_an_hour_of_it(clock: Clock) -> None:
    allowance = Allowance(messages=2, size=1000, now=clock)
    allowance.spend("alice", 1)
    clock.seconds += 1_000_000
    allowance.spend("alice", 1)
    allowance.spend("alice", 1)
    with pytest.raises(LimitExceeded):
        allowance.spend("alice", 1)


def test_each_agent_has_its_own(clock: Clock) -> None:
    allowance = Allowance(messages=1, size=1000, now=clock)
    allowance.spend("alice", 1)
    allowance.spend("bob", 1)


def test_a_body_over_the_whole_limit_is_still_sent_now_and_then(clock: Clock) -> None:
    allowance = Allowance(messages=10, size=100, now=clock)
    allowance.spend("alice", 500)
    with pytest.raises(LimitExceeded):
        allowance.spend("alice", 1)


async def test_only_agents_are_bounded(store: Store) -> None:
    broker = Broker(store, max_body_bytes=100, allowance=Allowance(messages=1, size=100))
    service = Principal(Kind.SERVICE, "lifecycle")
    for _ in range(3):
        await broker.send(THE_OPERATOR, "alice", "x", {})
        await broker.send(service, "manager", "x", {"kind": "spawned"})
    await broker.send(agent("alice"), "operator", "x", {})
    with pytest.raises(LimitExceeded):
        await broker.send(agent("alice"), "operator", "x", {})
    await broker.send(agent("bob"), "operator", "x", {})
    await broker.close()
