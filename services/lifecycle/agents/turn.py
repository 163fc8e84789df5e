"""The turn state of an agent: as its harness reported it, and as lifecycle shows it."""

import time
from dataclasses import dataclass, replace
from typing import Final

from wire.errors import InvalidArgument
from wire.records.lifecycle import Report, TurnState

REPORTABLE: Final = (
    TurnState.IDLE,
    TurnState.THINKING,
    TurnState.COMPACTING,
    TurnState.WAITING,
    TurnState.RATE_LIMITED,
    TurnState.NEEDS_LOGIN,
    TurnState.ERROR,
)
"""The states that a harness may report; lifecycle finds out the others itself."""

IN_TURN: Final = frozenset({TurnState.THINKING, TurnState.COMPACTING})
"""The states in which a restart would interrupt work."""

UNKNOWN: Final = frozenset({TurnState.OFFLINE, TurnState.HARNESS_AWAY})
"""The states of a running container that do not show whether a turn runs."""

MAX_REASON: Final = 500
MAX_ACTIVITY: Final = 200
MAX_EFFORT: Final = 32
MAX_SESSION: Final = 64


@dataclass(frozen=True, slots=True)
class Hold:
    """The hold on an agent's inbox: the broker delivers nothing to the agent."""

    reason: str
    since: int


@dataclass(frozen=True, slots=True)
class Turn:
    """The turn state that one run of a container has, and since when."""

    state: TurnState = TurnState.OFFLINE
    since: int = 0
    reason: str = ""
    until: int = 0
    invocation: str = ""
    """The run of the container whose harness reported it; empty while nothing can report."""

    def reported(self, report: Report, invocation: str) -> "Turn":
        """Return the turn after a report from the container's run `invocation`.

        A new state ends the reason and the time of the state before.

        Raises:
            InvalidArgument: the state is not one that a harness may report.
        """
        state = _reportable(report.turn_state) if report.turn_state is not None else self.state
        same = state is self.state and invocation == self.invocation
        reason, until = (self.reason, self.until) if same else ("", 0)
        return Turn(
            state,
            self.since if same else now(),
            reason if report.reason is None else one_line(report.reason, MAX_REASON),
            until if report.until is None else report.until,
            invocation,
        )

    def ended(self) -> "Turn":
        """Return the turn state of a container that does not run."""
        return self if self == Turn(since=self.since) else Turn(since=now())

    def away(self, since: int) -> "Turn":
        """Return the turn state of a container whose harness left at `since`."""
        return replace(self, state=TurnState.HARNESS_AWAY, since=since, reason="", until=0)

    def held(self, hold: Hold) -> "Turn":
        """Return the turn state of an idle agent whose inbox is held."""
        since = max(self.since, hold.since)
        return replace(self, state=TurnState.HELD, since=since, reason=hold.reason, until=0)


def now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def one_line(text: str, most: int) -> str:
    """Return at most `most` characters of a harness's text, on one line."""
    return " ".join(text[: 4 * most].split())[:most]


def _reportable(state: str) -> TurnState:
    if state not in REPORTABLE:
        raise InvalidArgument(
            f"{state[:40]!r} is not a valid turn_state. Use one of: {', '.join(REPORTABLE)}."
        )
    return TurnState(state)
