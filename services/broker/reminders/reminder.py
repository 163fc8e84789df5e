"""A reminder and its states."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.broker.deadlines.clock import in_words

KIND: Final = "reminder"
"""The kind of the message that a reminder becomes."""


class State(StrEnum):
    """Where a reminder is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.DELIVERED, State.CANCELLED}),
    State.DELIVERED: frozenset(),
    State.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Reminder:
    """A stored reminder; its fields are those of the contract, in their order.

    Times are microseconds since 1970; `file` is a path in the owner's container, or empty;
    `message` is the id of what it has become, 0 before that.
    """

    id: int
    owner: str
    due: int
    body: str
    file: str
    created: int
    state: State
    message: int


def words(reminder: Reminder) -> str:
    """The message that it becomes. The harness reads the file that the second line names."""
    lines = [f"This is your reminder {reminder.id}, due at {in_words(reminder.due)}."]
    if reminder.file:
        lines.append(f"File: {reminder.file}")
    if reminder.body:
        lines += ["", reminder.body]
    return "\n".join(lines)
