"""The messages to agents about their changes."""

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


def ended(row: Row, how: str) -> str:
    """Return the message that a change has come to an end, or waits for its agent.

    Args:
        row: the change.
        how: the rest of the sentence, as in `was denied.`
    """
    return f"{_subject(row)} {how}"


def commented(row: Row, comment: CommentRow) -> str:
    """Return the message about one comment."""
    who = "The operator" if comment.author == names.OPERATOR else comment.author
    return (
        f"{who} commented on your change {_named(row)}, {place(comment)}:\n\n{comment.text}\n\n"
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
