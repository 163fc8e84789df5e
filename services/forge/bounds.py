"""A bound for the messages to each agent: two agents could wake each other through the forge, whose
messages no loop detector sees."""

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

HOUR: Final = 3600.0


class Verdict(Enum):
    """The verdict about a message to an agent."""

    TOLD = auto()
    """It is sent."""
    LAST = auto()
    """It is not sent, and neither are the next ones: the agent is told that."""
    DROPPED = auto()
    """It is not sent."""


class Bounds:
    """A bucket for each agent, with the messages of one hour; it is refilled evenly.

    The buckets are in memory. An hour without an event fills all of them, so nothing is lost when
    the service ends then.
    """

    def __init__(self, per_hour: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Fill the buckets.

        Args:
            per_hour: the messages of an hour.
            clock: in seconds.
        """
        self._per_hour = per_hour
        self._clock = clock
        self._spent: dict[str, tuple[float, float]] = {}
        """The time of the last message of each agent, and how many were spent then."""
        self._empty: set[str] = set()

    def spend(self, agent: str) -> Verdict:
        """Count a message to `agent`; return whether it may be sent."""
        now = self._clock()
        since, spent = self._spent.get(agent, (now, 0.0))
        spent = max(0.0, spent - (now - since) * self._per_hour / HOUR)
        if spent <= self._per_hour / 2:
            # Not earlier: else each message that just fits would be followed by another LAST.
            self._empty.discard(agent)
        if spent + 1 <= self._per_hour:
            self._spent[agent] = (now, spent + 1)
            return Verdict.TOLD
        self._spent[agent] = (now, spent)
        if agent in self._empty:
            return Verdict.DROPPED
        self._empty.add(agent)
        return Verdict.LAST
