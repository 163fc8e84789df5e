"""The detection of loops: agents that write to each other again and again without the operator.

One agent alone cannot have another one held: an agent is held only if it had a real part in the
loop. The counts are kept in memory: a restart of the broker, which no agent can cause, begins anew.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.config import BrokerConfig
from wire.names import ALL_AGENTS

Pair = tuple[str, str]
"""Two agents, in the order of their names; or one twice, that writes to itself; or
ALL_AGENTS and one that writes to all."""

MINUTE: Final = 60.0
MAX_PAIRS: Final = 1000
"""The pairs above which those without messages in the window are forgotten."""
SHARE: Final = 4
"""An agent that wrote fewer than one of SHARE messages is not held."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that was found."""

    pair: Pair
    text: str
    """The finding, for people."""
    held: tuple[str, ...]
    """The agents to hold: one of the two, or both."""


@dataclass(slots=True)
class _Exchange:
    """The messages between two agents in the window: times, senders and hashes of the texts."""

    messages: deque[tuple[float, str, int]] = field(default_factory=deque)
    texts: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each of the two wrote each text."""

    def add(self, at: float, sender: str, text: int) -> None:
        self.messages.append((at, sender, text))
        self.texts[sender, text] += 1

    def forget_before(self, time: float) -> None:
        while self.messages and self.messages[0][0] < time:
            _, sender, text = self.messages.popleft()
            self.texts[sender, text] -= 1
            if not self.texts[sender, text]:
                del self.texts[sender, text]

    def count(self, sender: str) -> int:
        """Return how many messages `sender` wrote."""
        return sum(count for (name, _), count in self.texts.items() if name == sender)

    def repeats(self, sender: str) -> int:
        """Return how often `sender` wrote the text that it wrote most often."""
        return max((count for (name, _), count in self.texts.items() if name == sender), default=0)


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

        The count of the two begins anew then. A message to ALL_AGENTS counts once, and only for its
        sender.
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
        key = hash(text)
        exchange.add(now, sender, key)
        count = len(exchange.messages)
        equal = {name: exchange.texts[name, key] for name in pair}
        if count <= self._most and sum(equal.values()) < self._most_equal:
            return None
        del self._exchanges[pair]
        if count > self._most:
            return self._too_many(pair, exchange)
        return self._repeated(pair, exchange, equal)

    def operator_spoke(self, name: str) -> None:
        """Begin to count anew for an agent that the operator wrote to, or for ALL_AGENTS."""
        if name == ALL_AGENTS:
            self._exchanges.clear()
        for pair in [pair for pair in self._exchanges if name in pair]:
            del self._exchanges[pair]

    def _forget_before(self, time: float) -> None:
        for exchange in self._exchanges.values():
            exchange.forget_before(time)
        self._exchanges = {pair: one for pair, one in self._exchanges.items() if one.messages}

    def _too_many(self, pair: Pair, exchange: _Exchange) -> Loop:
        """Return a loop of the agents that wrote a real share of the messages."""
        count = len(exchange.messages)
        held = tuple(name for name in _each(pair) if exchange.count(name) * SHARE >= count)
        if len(held) == 1:
            count = exchange.count(held[0])
        return Loop(pair, f"{_wrote(pair, held)} {count} messages {self._within}", held)

    def _repeated(self, pair: Pair, exchange: _Exchange, equal: dict[str, int]) -> Loop:
        """Return a loop of the agents that wrote the text, or another one, again and again."""
        bound = self._most_equal
        held = tuple(
            name
            for name in _each(pair)
            if equal[name] * SHARE >= bound
            or (exchange.repeats(name) > 1 and exchange.repeats(name) * SHARE >= bound)
        )
        if len(held) == 1:
            times = f"the same text {equal[held[0]]} times"
        elif all(equal[name] for name in held):
            times = f"the same text {sum(equal.values())} times"
        else:
            times = f"the same texts, one of them {sum(equal.values())} times,"
        return Loop(pair, f"{_wrote(pair, held)} {times} {self._within}", held)

    @property
    def _within(self) -> str:
        return f"within {self._minutes} minutes, without a message of the operator"


def _each(pair: Pair) -> list[str]:
    """Return the agents of a pair, each once."""
    return [name for name in dict.fromkeys(pair) if name != ALL_AGENTS]


def _wrote(pair: Pair, held: tuple[str, ...]) -> str:
    one, other = pair
    if one == other:
        return f"{one} wrote itself"
    if len(held) > 1:
        return f"{one} and {other} wrote each other"
    [sender] = held
    peer = other if sender == one else one
    return f"{sender} wrote {'all agents' if peer == ALL_AGENTS else peer}"


def pair_of(one: str, other: str) -> Pair:
    """Return two agents in the order of their names."""
    return (one, other) if one <= other else (other, one)
