"""The messages to agents about their changes."""

from collections.abc import Sequence
from typing import Final, Protocol

from services.deliverer import Deliverer
from services.projects.changes.model import CommentRow, Notice, Row
from services.projects.changes.store import Store
from wire import names

KIND: Final = "change"
"""The kind of these messages."""


class Broker(Protocol):
    """The part of the broker that is needed."""

    async def send(self, notice: Notice) -> None:
        """Send an agent a message; the same one twice is delivered once."""


def deliverer(store: Store, broker: Broker) -> Deliverer[Notice]:
    """Return the deliverer of the messages that the store owes."""
    # An agent that was purged needs none.
    return Deliverer(store.notices, store.delivered, broker.send, drop_unknown=True)


def withdrawn(row: Row, why: str) -> str:
    """Return the message that a change has ended without its agent."""
    return f"{_subject(row)} was withdrawn: {why}"


def denied(row: Row, note: str) -> str:
    """Return the message that the operator does not want a change."""
    return f"{_subject(row)} was denied{f': {note}' if note else '.'}"


def published(row: Row, branch: str, commit: str) -> str:
    """Return the message that a branch has a change."""
    return (
        f"{_subject(row)} was approved, and is in the branch {branch} as {commit[:12]}. "
        "`git fetch` shows it."
    )


def conflicting(row: Row, why: str) -> str:
    """Return the message that an approved change did not get into its branch."""
    return (
        f"{_subject(row)} was approved, but {why}. In /work/{row.project}, run `git fetch` and "
        f"`git rebase origin/{row.branch}`, resolve the conflicts, test, and submit the result: "
        f"`update_change` with id {names.change(row.id)}."
    )


def requested(row: Row, note: str, comments: Sequence[CommentRow]) -> str:
    """Return the message about what the operator wants to be changed: all comments together."""
    said = [f"The operator wants changes to {_named(row)}{f': {note}' if note else '.'}"]
    said += [f"{place(comment)}:\n{comment.text}" for comment in comments]
    said.append(
        f"Commit what is needed, and submit it: `update_change` with id {names.change(row.id)}. "
        "Where you disagree, say so with `comment_on_change`."
    )
    return "\n\n".join(said)


def commented(row: Row, comment: CommentRow) -> str:
    """Return the message about one comment."""
    who, text = comment.author, comment.text
    if who == names.OPERATOR:
        who = "The operator"
    else:
        # So that no agent speaks for the operator.
        text = "\n".join(f"> {line}" for line in text.splitlines())
    return (
        f"{who} commented on your change {_named(row)}, {place(comment)}:\n\n{text}\n\n"
        "Answer with `comment_on_change`, or submit what is better with `update_change`."
    )


def place(comment: CommentRow) -> str:
    """Return what a comment is about."""
    of = f"revision {comment.revision}"
    if not comment.path:
        return of
    return f"{comment.path}{f', line {comment.line}' if comment.line else ''} ({of})"


def _subject(row: Row) -> str:
    return f"Your change {_named(row)}"


def _named(row: Row) -> str:
    return f"{names.change(row.id)} of {row.project} ({row.title})"
