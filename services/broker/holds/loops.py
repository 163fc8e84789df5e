"""The detection of loops: agents that write to each other again and again without the operator.

The counts are kept in memory: a restart of the broker, which no agent can cause, begins anew.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.config import BrokerConfig

Pair = tuple[str, str]
"""Two agents, in the order of their names; or one twice, that writes to itself."""

MINUTE: Final = 60.0
MAX_PAIRS: Final = 1000
"""The pairs above which those without messages in the window are forgotten."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that was found."""

    pair: Pair
    text: str
    """The finding, for people."""


@dataclass(slots=True)
class _Exchange:
    """The messages between two agents in the window: their times and the hashes of their texts."""

    messages: deque[tuple[float, int]] = field(default_factory=deque)
    texts: Counter[int] = field(default_factory=Counter)

    def add(self, at: float, text: int) -> int:
        """Add a message; return how often its text occurs."""
        self.messages.append((at, text))
        self.texts[text] += 1
        return self.texts[text]

    def forget_before(self, time: float) -> None:
        while self.messages and self.messages[0][0] < time:
            _, text = self.messages.popleft()
            self.texts[text] -= 1
            if not self.texts[text]:
                del self.texts[text]


class Loops:
    """The messages between each two agents within the last minutes."""

    def __init__(self, config: BrokerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._most = config.loop_messages
        self._most_equal = config.loop_repeats
        self._minutes = config.loop_minutes
        self._clock = clock
        self._exchanges: dict[Pair, _Exchange] = {}

    def note(self, sender: str, recipient: str, text: str) -> Loop | None:
        """Count a message between two agents; return the loop if it is one too many.

        The count of the two begins anew then.
        """
        if not self._most:
            return None
        pair = pair_of(sender, recipient)
        now = self._clock()
        oldest = now - self._minutes * MINUTE
        if len(self._exchanges) >= MAX_PAIRS:
            self._forget_before(oldest)
        exchange = self._exchanges.setdefault(pair, _Exchange())
        exchange.forget_before(oldest)
        equal = exchange.add(now, hash(text))
        count = len(exchange.messages)
        if count <= self._most and equal < self._most_equal:
            return None
        del self._exchanges[pair]
        return Loop(pair, self._finding(pair, count, equal))

    def operator_spoke(self, name: str) -> None:
        """Begin to count anew for an agent that the operator wrote to."""
        for pair in [pair for pair in self._exchanges if name in pair]:
            del self._exchanges[pair]

    def _forget_before(self, time: float) -> None:
        for exchange in self._exchanges.values():
            exchange.forget_before(time)
        self._exchanges = {pair: one for pair, one in self._exchanges.items() if one.messages}

    def _finding(self, pair: Pair, count: int, equal: int) -> str:
        one, other = pair
        who = f"{one} wrote itself" if one == other else f"{one} and {other} wrote each other"
        within = f"within {self._minutes} minutes, without a message of the operator"
        if count > self._most:
            return f"{who} {count} messages {within}"
        return f"{who} the same text {equal} times {within}"


def pair_of(one: str, other: str) -> Pair:
    """Return two agents in the order of their names."""
    return (one, other) if one <= other else (other, one)
