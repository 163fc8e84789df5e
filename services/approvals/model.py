"""A request for the operator's approval, its states, and the tags that record them in git."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a request."""

    PENDING = "pending"
    """The request waits for the operator."""
    APPROVED = "approved"
    """The operator said yes; the job is ordered as soon as lifecycle can be asked."""
    BUILDING = "building"
    """Lifecycle has been asked for the job, or is about to be."""
    DEPLOYED = "deployed"
    FAILED = "failed"
    """The job failed or was refused; the note says why."""
    DENIED = "denied"
    """The operator said no; the note may say why."""
    SUPERSEDED = "superseded"
    """A newer request replaced it, or it is not based on what is deployed now."""
    WITHDRAWN = "withdrawn"
    """The requester took it back, or its agent was destroyed."""


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
"""The states that can follow each state. A state without a successor is final."""

OPEN: Final = frozenset(state for state, next_states in TRANSITIONS.items() if next_states)
"""The states that are not final."""

IN_PROGRESS: Final = frozenset({State.APPROVED, State.BUILDING})
"""The states from the operator's yes to the end of the job. One request per agent is in them."""


class Kind(StrEnum):
    """The kind of a request."""

    SPAWN = "spawn"
    """Make a new agent, with its first configuration."""
    APPLY = "apply"
    """Deploy another configuration to an agent."""
    REVERT = "revert"
    """Deploy a configuration that is not based on the deployed one."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One request.

    Times are microseconds since 1970. `resolved` is 0 while the request is pending, and later the
    time of its last change of state.
    """

    id: int
    kind: Kind
    agent: str
    commit: str
    """All 40 digits; empty only in a request from a version that had no commits."""
    reason: str
    requested_by: str
    requested: int
    state: State
    note: str
    resolved: int
    base: str = ""
    """The commit that was deployed when the operator said yes; empty: none was, or no yes yet."""
    now: bool = False
    """Whether the job does not wait for the end of the agent's turn."""


def history(state: State) -> tuple[State, ...]:
    """Return the states that lead to `state`, from the first one: there is one way to each."""
    before = [old for old, states in TRANSITIONS.items() if state in states]
    return (*history(before[0]), state) if before else (state,)


def tag(state: State, number: int) -> str:
    """Return the name of the tag that records in git that request `number` reached `state`."""
    return f"{'proposal' if state is State.PENDING else state}/{number}"
