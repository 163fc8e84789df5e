"""The events of the broker, which the interface emits as signals."""

from collections.abc import Callable, Sequence
from typing import Protocol

from wire.records.broker import MessageChange, MessageState, Question


class Events(Protocol):
    """A listener to the events."""

    def messages_changed(self, changes: Sequence[MessageChange]) -> None:
        """Messages came to another state. The changes are on disk already."""

    def question_added(self, question: Question) -> None:
        """A question was asked."""

    def question_resolved(self, question: Question) -> None:
        """A question was answered or cancelled, or it expired."""

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        """A reminder became a message."""


class NoListener:
    """Ignores the events."""

    def messages_changed(self, changes: Sequence[MessageChange]) -> None: ...  # noqa: D102
    def question_added(self, question: Question) -> None: ...  # noqa: D102
    def question_resolved(self, question: Question) -> None: ...  # noqa: D102
    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None: ...  # noqa: D102


class Announcer:
    """Passes events to the listener, and wakes the calls that wait for a message."""

    listener: Events
    """The interface sets it; until then the events are ignored."""

    def __init__(self) -> None:
        self.listener = NoListener()
        self._wake: dict[str, Callable[[], None]] = {}

    def wake_on_message(self, recipient: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever a message to `recipient` is queued."""
        self._wake[recipient] = wake

    def announce(self, changes: Sequence[MessageChange]) -> None:
        """Announce changes of messages, and wake the recipients of those that are queued."""
        if not changes:
            return
        self.listener.messages_changed(changes)
        for recipient in {c.recipient for c in changes if c.state is MessageState.QUEUED}:
            if recipient in self._wake:
                self._wake[recipient]()
