"""How much somebody may send: what is sent stays on the host's disk and in others' inboxes."""

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
    """What may be sent in an hour: messages and, if that is bounded, bytes; at least 1 each."""

    messages: int
    size: int | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f" and {self.size} bytes"
        return f"{self.messages} messages{size} an hour"


class RateLimiter:
    """What each has sent lately; what was not used lasts for a burst of an hour's worth.

    What was spent comes back evenly, within an hour. It is kept in memory: a restart of the broker,
    which no agent can bring about, forgives it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a clock in seconds."""
        self._now = now
        # Of each: when it last sent, and what of messages and bytes was spent then.
        self._spent: dict[Principal, tuple[float, float, float]] = {}

    def spend(self, who: Principal, rate: Rate, size: int, *, copies: int, setting: str) -> None:
        """Note that `who` sends `copies` messages of `size` bytes; it may send `rate`.

        Raises:
            LimitExceeded: it may not yet; when it may is in the sentence, and `setting`, which
                is where the rate is set. Nothing is noted.
        """
        now = self._now()
        spent = self._spent_at(now, who, rate)
        messages, sent = spent[0] + copies, spent[1] + copies * size
        wait = HOUR * (messages - rate.messages) / rate.messages
        if rate.size is not None:
            wait = max(wait, HOUR * (sent - rate.size) / rate.size)
        # What is larger than the limit itself fits when nothing else is spent.
        if wait > 0 and any(spent):
            raise LimitExceeded(
                f"{who.name} has sent too much: it may send {rate} ({setting} of hyperhive.toml). "
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
