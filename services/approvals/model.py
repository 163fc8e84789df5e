"""What an approval is, and the states it goes through."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an approval is."""

    PENDING = "pending"
    """It waits for the operator."""
    APPROVED = "approved"
    """The operator said yes; lifecycle has been asked, or will be as soon as it is there."""
    SPAWNED = "spawned"
    FAILED = "failed"
    """Lifecycle could not do it; the note says why."""
    DENIED = "denied"
    """The operator said no; the note may say why."""


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED}),
    State.APPROVED: frozenset({State.SPAWNED, State.FAILED}),
    State.SPAWNED: frozenset(),
    State.FAILED: frozenset(),
    State.DENIED: frozenset(),
}
"""From each state, where it can go. A state that leads nowhere is final."""

OPEN: Final = frozenset(state for state, next_states in TRANSITIONS.items() if next_states)
"""The states in which a request still holds its name: one open request a name."""


class Kind(StrEnum):
    """What is asked for."""

    SPAWN = "spawn"


@dataclass(frozen=True, slots=True)
class Approval:
    """One request. Times are microseconds since 1970; `resolved` is 0 while it is pending, then
    the time of its latest change of state."""

    id: int
    kind: Kind
    agent: str
    reason: str
    requested_by: str
    requested: int
    state: State
    note: str
    resolved: int
