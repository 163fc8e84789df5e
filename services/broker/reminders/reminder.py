"""The states of a reminder, one that is not stored yet, and the message that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.broker.deadlines.clock import Deadline, in_words
from wire.records.broker import Reminder, ReminderState

KIND: Final = "reminder"
"""The kind of the message that a reminder becomes."""

TRANSITIONS: Final[Mapping[ReminderState, frozenset[ReminderState]]] = {
    ReminderState.PENDING: frozenset({ReminderState.DELIVERED, ReminderState.CANCELLED}),
    ReminderState.DELIVERED: frozenset(),
    ReminderState.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class NewReminder:
    """A reminder to store; `created` is in microseconds since 1970."""

    owner: str
    body: str
    file: str
    created: int
    deadline: Deadline
    dedupe_key: str | None


def message_text(reminder: Reminder) -> str:
    """Return the text of the message; the harness reads the file that the second line names."""
    lines = [f"This is your reminder {reminder.id}, due at {in_words(reminder.due)}."]
    if reminder.file:
        lines.append(f"File: {reminder.file}")
    if reminder.body:
        lines += ["", reminder.body]
    return "\n".join(lines)
