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

IN_TURN: Final = frozenset({TurnState.THINKING, TurnState.COMPACTING, TurnState.WAITING})
"""The states in which a restart would always interrupt work. A turn that waits for the operator is
a turn: its call is gone after a restart, and the answer comes too late for it.
"""

MAYBE_IN_TURN: Final = frozenset({TurnState.RATE_LIMITED, TurnState.ERROR})
"""The states of a turn whose request the API refuses, and of the time between two turns."""

UNKNOWN: Final = frozenset({TurnState.OFFLINE, TurnState.NO_REPORT, TurnState.HARNESS_AWAY})
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
    away: int = 0
    """When the harness left its endpoint; 0 while it is connected, or not known."""
    runs: bool = False
    """Whether the harness has reported that a turn runs. An earlier harness does not report it."""

    @property
    def interruptible(self) -> bool:
        """Whether a restart would interrupt a turn."""
        return self.state in IN_TURN or (self.runs and self.state in MAYBE_IN_TURN)

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
            self.away if invocation == self.invocation else 0,
            self._runs(report, invocation),
        )

    def _runs(self, report: Report, invocation: str) -> bool:
        if report.in_turn is not None:
            return report.in_turn
        return self.runs and invocation == self.invocation

    def ended(self) -> "Turn":
        """Return the turn state of a container that does not run."""
        return self if self == Turn(since=self.since) else Turn(since=now())

    def connected(self, connected: bool, invocation: str) -> "Turn":
        """Return the turn after the harness has come to its endpoint, or left it."""
        if connected:
            return replace(self, away=0)
        return replace(self, away=self.away or now(), invocation=invocation)

    def shown(self, hold: Hold | None, *, up: bool, since: int) -> "Turn":
        """Return the turn state as it is shown.

        Args:
            hold: the hold on the agent's inbox, if any.
            up: whether the container is READY.
            since: the time since when it is READY, or is not.
        """
        if self.away and up:
            return replace(self, state=TurnState.HARNESS_AWAY, since=self.away, reason="", until=0)
        if up and self.state is TurnState.OFFLINE:
            return replace(self, state=TurnState.NO_REPORT, since=max(self.since, since))
        if hold and self.state is TurnState.IDLE:
            since = max(self.since, hold.since)
            return replace(self, state=TurnState.HELD, since=since, reason=hold.reason, until=0)
        return self


@dataclass(frozen=True)
class TurnRecord:
    """The stored part of an agent's reports. The attributes are the columns of its table."""

    agent: str
    state: TurnState
    since: int
    reason: str
    until: int
    invocation: str
    away: int
    model: str
    effort: str
    session: str
    context_tokens: int
    context_limit: int
    logged_in: bool
    credential: str
    model_setting: str

    @property
    def turn(self) -> Turn:
        """The turn state."""
        return Turn(self.state, self.since, self.reason, self.until, self.invocation, self.away)


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
