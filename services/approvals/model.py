"""What an approval is, and the states it goes through."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where an approval is."""

    PENDING = "pending"
    """It waits for the operator."""
    APPROVED = "approved"
    """The operator said yes; it is begun as soon as lifecycle can be asked."""
    BUILDING = "building"
    """Lifecycle is carrying it out, or is asked to."""
    DEPLOYED = "deployed"
    FAILED = "failed"
    """Lifecycle could not do it; the note says why."""
    DENIED = "denied"
    """The operator said no; the note may say why."""
    SUPERSEDED = "superseded"
    """A newer request took its place, or it no longer fits to what is deployed."""
    WITHDRAWN = "withdrawn"
    """Who asked for it took it back, or its agent is gone."""


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED, State.SUPERSEDED, State.WITHDRAWN}),
    State.APPROVED: frozenset({State.BUILDING}),
    State.BUILDING: frozenset({State.DEPLOYED, State.FAILED}),
    State.DEPLOYED: frozenset(),
    State.FAILED: frozenset(),
    State.DENIED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.WITHDRAWN: frozenset(),
}
"""From each state, where it can go. A state that leads nowhere is final."""

OPEN: Final = frozenset(state for state, next_states in TRANSITIONS.items() if next_states)
"""The states that are not final."""

GOING: Final = frozenset({State.APPROVED, State.BUILDING})
"""What the operator said yes to and has not ended: one an agent."""


class Kind(StrEnum):
    """What is asked for."""

    SPAWN = "spawn"
    """A new agent, with its first configuration."""
    APPLY = "apply"
    """Another configuration for an agent."""
    REVERT = "revert"
    """The same, though it does not follow from what is deployed."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One request. Times are microseconds since 1970; `resolved` is 0 while it is pending, then
    the time of its latest change of state."""

    id: int
    kind: Kind
    agent: str
    commit: str
    """The whole name of the commit; empty only where a version without commits left it so."""
    reason: str
    requested_by: str
    requested: int
    state: State
    note: str
    resolved: int
    base: str = ""
    """What was deployed when the operator said yes; empty before that, and when nothing was."""
    now: bool = False
    """Whether it does not wait for the end of the agent's turn."""


def story(state: State) -> tuple[State, ...]:
    """The states that an approval in `state` has been in, from the first one: each has one way."""
    before = [old for old, states in TRANSITIONS.items() if state in states]
    return (*story(before[0]), state) if before else (state,)


def tag(state: State, number: int) -> str:
    """What says in git that approval `number` came to `state`."""
    return f"{'proposal' if state is State.PENDING else state}/{number}"
