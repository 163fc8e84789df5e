"""Nobody can fill the disk, or an inbox, faster than it is allowed to."""

import pytest

from services.broker.limits.rate import Rate, RateLimiter
from wire.errors import LimitExceeded
from wire.principal import Principal, agent


class Clock:
    """A clock that stands still unless it is moved."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


ALICE, BOB = agent("alice"), agent("bob")


def spend(
    allowance: RateLimiter, rate: Rate, size: int = 1, *, who: Principal = ALICE, copies: int = 1
) -> None:
    allowance.spend(who, rate, size, copies=copies, setting="section [broker]")


def test_messages_come_back_evenly(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(10, 10_000)
    for _ in range(10):
        spend(allowance, rate)
    sentence = r"alice has reached its limit of 10 messages and .*Try again in 360 s\."
    with pytest.raises(LimitExceeded, match=sentence):
        spend(allowance, rate)
    clock.seconds += 359
    with pytest.raises(LimitExceeded, match=r"Try again in [12] s"):
        spend(allowance, rate)
    clock.seconds += 2
    spend(allowance, rate)
    with pytest.raises(LimitExceeded):
        spend(allowance, rate)


def test_bytes_are_limited_too(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(10, 1000)
    spend(allowance, rate, 900)
    with pytest.raises(LimitExceeded, match="Try again in 360 s"):
        spend(allowance, rate, 200)
    spend(allowance, rate, 100)
    clock.seconds += 1800
    spend(allowance, rate, 500)


def test_every_copy_counts(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(10, 1000)
    spend(allowance, rate, 10, copies=8)
    with pytest.raises(LimitExceeded):
        spend(allowance, rate, 10, copies=3)
    with pytest.raises(LimitExceeded):
        spend(allowance, rate, 500, copies=2)
    spend(allowance, rate, 400, copies=2)


def test_bytes_need_not_be_bounded(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(2)
    spend(allowance, rate, 2**40)
    spend(allowance, rate, 2**40)
    with pytest.raises(LimitExceeded, match=r"limit of 2 messages an hour \(section"):
        spend(allowance, rate)


def test_unused_allowance_lasts_for_one_hour_at_most(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(2, 1000)
    spend(allowance, rate)
    clock.seconds += 1_000_000
    spend(allowance, rate)
    spend(allowance, rate)
    with pytest.raises(LimitExceeded):
        spend(allowance, rate)


def test_each_has_its_own(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(1, 1000)
    spend(allowance, rate)
    spend(allowance, rate, who=BOB)


def test_a_body_over_the_whole_limit_is_still_sent_now_and_then(clock: Clock) -> None:
    allowance, rate = RateLimiter(clock), Rate(10, 100)
    spend(allowance, rate, 500)
    with pytest.raises(LimitExceeded):
        spend(allowance, rate)
