"""How much an agent may send: what it sends stays on the host's disk and in others' inboxes."""

import math
import time
from collections.abc import Callable
from typing import Final

from wire.errors import LimitExceeded

HOUR: Final = 3600.0


class Allowance:
    """Messages and bytes that each agent may send in an hour; unused, they last for a burst.

    What was spent comes back evenly, within an hour. It is kept in memory: a restart of the broker,
    which no agent can bring about, forgives it.
    """

    def __init__(
        self, *, messages: int, size: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`messages` and `size` (bytes) an hour, each at least 1; `now` is a clock in seconds."""
        self._limits = (messages, size)
        self._now = now
        # Of each agent: when it last sent, and what of each limit was spent then.
        self._spent: dict[str, tuple[float, tuple[float, float]]] = {}

    def spend(self, name: str, size: int) -> None:
        """Note that the agent `name` sends a message of `size` bytes.

        Raises:
            LimitExceeded: it may not, for so long as the sentence says; nothing is noted.
        """
        now = self._now()
        spent = self._spent_at(now, name)
        wanted = (spent[0] + 1, spent[1] + size)
        wait = max(
            (want - limit) / limit * HOUR for want, limit in zip(wanted, self._limits, strict=True)
        )
        # A message that is larger than the limit itself fits when nothing else is spent.
        if wait > 0 and any(spent):
            messages, most = self._limits
            raise LimitExceeded(
                f"{name} has sent too much: an agent may send {messages} messages and {most} bytes "
                f"an hour (section [broker] of hyperhive.toml). Wait {math.ceil(wait)} s."
            )
        self._spent[name] = (now, wanted)

    def _spent_at(self, now: float, name: str) -> tuple[float, float]:
        since, (messages, size) = self._spent.get(name, (now, (0.0, 0.0)))
        back = (now - since) / HOUR
        return (
            max(0.0, messages - back * self._limits[0]),
            max(0.0, size - back * self._limits[1]),
        )
