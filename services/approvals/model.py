"""A request for the operator's approval, its states, and the tags that record them in git."""

from dataclasses import dataclass
from typing import Final

from wire.records import approvals as records
from wire.records.approvals import ApprovalKind, ApprovalState

TRANSITIONS: Final[dict[ApprovalState, frozenset[ApprovalState]]] = {
    ApprovalState.PENDING: frozenset(
        {
            ApprovalState.APPROVED,
            ApprovalState.DENIED,
            ApprovalState.SUPERSEDED,
            ApprovalState.WITHDRAWN,
        }
    ),
    ApprovalState.APPROVED: frozenset({ApprovalState.BUILDING}),
    ApprovalState.BUILDING: frozenset({ApprovalState.DEPLOYED, ApprovalState.FAILED}),
    ApprovalState.DEPLOYED: frozenset(),
    ApprovalState.FAILED: frozenset(),
    ApprovalState.DENIED: frozenset(),
    ApprovalState.SUPERSEDED: frozenset(),
    ApprovalState.WITHDRAWN: frozenset(),
}
"""The states that can follow each state. A state without a successor is final."""

OPEN: Final = frozenset(state for state, next_states in TRANSITIONS.items() if next_states)
"""The states that are not final."""

IN_PROGRESS: Final = frozenset({ApprovalState.APPROVED, ApprovalState.BUILDING})
"""The states from the operator's yes to the end of the job. One request per agent is in them."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One request, with what only approvals knows about it.

    Times are microseconds since 1970. `resolved` is 0 while the request is pending, and later the
    time of its last change of state.
    """

    id: int
    kind: ApprovalKind
    agent: str
    commit: str
    """All 40 digits; empty only in a request from a version that had no commits."""
    reason: str
    requested_by: str
    requested: int
    state: ApprovalState
    note: str
    resolved: int
    base: str = ""
    """The commit that was deployed when the operator said yes; empty: none was, or no yes yet."""
    now: bool = False
    """Whether the job does not wait for the end of the agent's turn."""

    def record(self) -> records.Approval:
        """Return the request as callers see it."""
        return records.Approval(
            id=self.id,
            kind=self.kind,
            agent=self.agent,
            commit=self.commit,
            reason=self.reason,
            requested_by=self.requested_by,
            requested=self.requested,
            state=self.state,
            note=self.note,
            resolved=self.resolved,
        )


def history(state: ApprovalState) -> tuple[ApprovalState, ...]:
    """Return the states that lead to `state`, from the first one: there is one way to each."""
    before = [old for old, states in TRANSITIONS.items() if state in states]
    return (*history(before[0]), state) if before else (state,)


def tag(state: ApprovalState, number: int) -> str:
    """Return the name of the tag that records in git that request `number` reached `state`."""
    return f"{'proposal' if state is ApprovalState.PENDING else state}/{number}"
