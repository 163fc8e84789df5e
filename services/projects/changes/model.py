"""A change, its states, and the rows that the store keeps of it."""

from typing import Final, NamedTuple

from wire.records.changes import ChangeState, PublishMode

S = ChangeState

_END: Final = frozenset[ChangeState]()
_OUT: Final = frozenset({S.DENIED, S.WITHDRAWN, S.SUPERSEDED})

TRANSITIONS: Final = {
    S.OPEN: frozenset({S.APPROVED, S.CHANGES_REQUESTED, *_OUT}),
    S.CHANGES_REQUESTED: frozenset({S.OPEN, *_OUT}),
    S.APPROVED: frozenset({S.MERGED, S.PUBLISHED, S.CONFLICT, S.DENIED}),
    S.CONFLICT: frozenset({S.OPEN, *_OUT}),
    S.MERGED: _END,
    S.PUBLISHED: _END,
    S.DENIED: _END,
    S.WITHDRAWN: _END,
    S.SUPERSEDED: _END,
}
"""The states that may follow each; a state without a successor is final."""

WAITING: Final = frozenset({S.OPEN, S.CHANGES_REQUESTED, S.CONFLICT})
"""The states in which the agent may update and withdraw a change, and the operator deny it."""

ALIVE: Final = frozenset({*WAITING, S.APPROVED})
"""The states that are not final."""


class Row(NamedTuple):
    """A change, as the store has it."""

    id: int
    project: str
    agent: str
    branch: str
    title: str
    description: str
    state: ChangeState
    note: str
    submitted: int
    """Microseconds since 1970."""
    changed: int
    published: str = ""
    replaces: int = 0
    """The change that is superseded by this one; 0: none."""


class Approval(NamedTuple):
    """The operator's approval of one revision on one base."""

    change: int
    revision: int
    base: str
    """The commit of the branch that was shown; empty: it had none."""
    how: PublishMode
    approver: str
    at: int


class RevisionRow(NamedTuple):
    """A revision of a change."""

    change: int
    number: int
    commit: str
    base: str
    submitted: int
    note: str
    findings: tuple[str, ...]
    recorded: bool
    """Whether its reference exists, so that the agent may have been answered."""


class CommentRow(NamedTuple):
    """A comment on a change."""

    change: int
    author: str
    at: int
    revision: int
    path: str
    line: int
    text: str


class Notice(NamedTuple):
    """A message that is owed to an agent."""

    id: int
    recipient: str
    body: str

    @property
    def dedupe_key(self) -> str:
        """The key by which the broker drops a repetition."""
        return f"change-notice-{self.id}"


def reference(change: int, revision: int) -> str:
    """Return the reference that keeps a revision; it never moves."""
    return f"refs/changes/{change}/{revision}"


def merged_reference(change: int, revision: int) -> str:
    """Return the reference to the commit that is published for a revision; it never moves."""
    return f"refs/merged/{change}/{revision}"
