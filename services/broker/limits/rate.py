"""A rate limiter: texts stay on the host's disk and in the inboxes of others."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from wire.errors import LimitExceeded
from wire.principal import Principal

HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Rate:
    """The most that may be sent in an hour: messages, and bytes unless None; at least 1 each."""

    messages: int
    size: int | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f" and {self.size} bytes"
        return f"{self.messages} messages{size} an hour"


class RateLimiter:
    """A token bucket for each sender, which holds the allowance of one hour.

    The bucket is refilled evenly, within an hour. It is kept in memory: a restart of the broker,
    which no agent can cause, refills it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Make full buckets; `now` is a clock in seconds."""
        self._now = now
        # For each sender: the time it last sent, and the messages and bytes spent at that time.
        self._spent: dict[Principal, tuple[float, float, float]] = {}

    def spend(self, who: Principal, rate: Rate, size: int, *, copies: int, setting: str) -> None:
        """Count `copies` messages of `size` bytes from `who`.

        Args:
            who: the sender.
            rate: the most that it may send.
            size: the bytes of one message.
            copies: the number of messages.
            setting: the words for the place where the rate is set.

        Raises:
            LimitExceeded: that would be too much; nothing is counted. The sentence says when to
                try again.
        """
        now = self._now()
        spent = self._spent_at(now, who, rate)
        messages, sent = spent[0] + copies, spent[1] + copies * size
        wait = HOUR * (messages - rate.messages) / rate.messages
        if rate.size is not None:
            wait = max(wait, HOUR * (sent - rate.size) / rate.size)
        # A message that is larger than the whole allowance may be sent from a full bucket.
        if wait > 0 and any(spent):
            raise LimitExceeded(
                f"{who.name} has reached its limit of {rate} ({setting} of hyperhive.toml). "
                f"Try again in {math.ceil(wait)} s."
            )
        self._spent[who] = (now, messages, sent)

    def _spent_at(self, now: float, who: Principal, rate: Rate) -> tuple[float, float]:
        since, messages, size = self._spent.get(who, (now, 0.0, 0.0))
        back = (now - since) / HOUR
        return (
            max(0.0, messages - back * rate.messages),
            max(0.0, size - back * (rate.size or 0)),
        )
