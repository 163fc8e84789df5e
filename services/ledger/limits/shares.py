"""The shares of agents in the requests and tokens that the provider still takes of one credential.

When little remains, each agent that uses the credential gets the same share of the requests and
tokens of a minute. An agent that has used less is never refused, and one that is alone has all.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 60_000_000
"""The time in which use counts: the provider's limits are for a minute."""
TIGHT: Final = 5
"""Little remains when it is less than one of so many parts of the whole."""


@dataclass(slots=True)
class _Uses:
    """The requests of one agent within the window: times and tokens."""

    requests: deque[tuple[int, int]] = field(default_factory=deque)
    tokens: int = 0

    def add(self, at: int, tokens: int) -> None:
        self.requests.append((at, tokens))
        self.tokens += tokens

    def forget_outside(self, now: int) -> None:
        """Forget what is older than the window, or was before the clock was set back."""
        while self.requests and not now - WINDOW <= self.requests[0][0] <= now:
            self.tokens -= self.requests.popleft()[1]


class Shares:
    """The use of one credential by agents."""

    def __init__(self) -> None:
        self._uses: dict[str, _Uses] = {}

    def add(self, agent: str, tokens: int, now: int) -> None:
        """Count a request of an agent."""
        self._uses.setdefault(agent, _Uses()).add(now, tokens)

    def agents(self, now: int) -> Collection[str]:
        """Return the agents with requests in the window."""
        for agent in list(self._uses):
            self._uses[agent].forget_outside(now)
            if not self._uses[agent].requests:
                del self._uses[agent]
        return self._uses.keys()

    def wait(self, agent: str, requests: int | None, tokens: int | None, now: int) -> int:
        """Return until when an agent leaves what remains to others; 0 for not at all.

        Args:
            agent: the agent that wants to send a request.
            requests: the requests that remain; None for not known.
            tokens: the tokens that remain; None for not known.
            now: the time.
        """
        sharing = {*self.agents(now), agent}
        mine = self._uses.get(agent)
        if mine is None or len(sharing) < 2:
            return 0
        uses = self._uses.values()
        all_requests = sum(len(one.requests) for one in uses)
        all_tokens = sum(one.tokens for one in uses)
        if _is_beyond(len(mine.requests), all_requests, requests, len(sharing)) or _is_beyond(
            mine.tokens, all_tokens, tokens, len(sharing)
        ):
            return mine.requests[0][0] + WINDOW
        return 0


def _is_beyond(mine: int, used: int, remaining: int | None, agents: int) -> bool:
    """Return whether little remains, and an agent has used its share of the whole."""
    if remaining is None:
        return False
    whole = used + remaining
    return remaining * TIGHT < whole and mine * agents >= whole
