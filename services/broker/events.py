"""The events of the broker, which the interface emits as signals."""

from collections.abc import Sequence
from typing import Protocol

from wire.records.broker import HoldsChanged, MessageChange, MessageState, Question


class Events(Protocol):
    """A listener to the events."""

    def messages_changed(self, changes: Sequence[MessageChange]) -> None:
        """Messages came to another state. The changes are on disk already."""

    def question_added(self, question: Question) -> None:
        """A question was asked."""

    def question_resolved(self, question: Question) -> None:
        """A question was answered or cancelled, or it expired."""

    def reminder_added(self, owner: str, reminder_id: int) -> None:
        """A reminder was set."""

    def reminder_cancelled(self, owner: str, reminder_id: int) -> None:
        """A reminder was cancelled."""

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        """A reminder became a message."""

    def holds_changed(self, change: HoldsChanged) -> None:
        """An agent is held, or not any more."""


class Wake(Protocol):
    """Lets the calls that wait for a message to somebody look."""

    def __call__(self, *, urgent: bool) -> None:
        """With `urgent`, those that wait for an urgent message look, too."""


class NoListener:
    """Ignores the events."""

    def messages_changed(self, changes: Sequence[MessageChange]) -> None: ...  # noqa: D102
    def question_added(self, question: Question) -> None: ...  # noqa: D102
    def question_resolved(self, question: Question) -> None: ...  # noqa: D102
    def reminder_added(self, owner: str, reminder_id: int) -> None: ...  # noqa: D102
    def reminder_cancelled(self, owner: str, reminder_id: int) -> None: ...  # noqa: D102
    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None: ...  # noqa: D102
    def holds_changed(self, change: HoldsChanged) -> None: ...  # noqa: D102


class Announcer:
    """Passes events to the listener, and wakes the calls that wait for a message."""

    listener: Events
    """The interface sets it; until then the events are ignored."""

    def __init__(self) -> None:
        self.listener = NoListener()
        self._wake: dict[str, Wake] = {}

    def wake_on_message(self, recipient: str, wake: Wake) -> None:
        """Call `wake` whenever a message to `recipient` is queued, or its hold ends."""
        self._wake[recipient] = wake

    def announce(self, changes: Sequence[MessageChange]) -> None:
        """Announce changes of messages, and wake the recipients of those that are queued."""
        if not changes:
            return
        self.listener.messages_changed(changes)
        queued = {c.recipient: False for c in changes if c.state is MessageState.QUEUED}
        for change in changes:
            if change.urgent and change.recipient in queued:
                queued[change.recipient] = True
        for recipient, urgent in queued.items():
            if recipient in self._wake:
                self._wake[recipient](urgent=urgent)

    def hold_ended(self, change: HoldsChanged) -> None:
        """Announce that an agent is not held any more, and wake it."""
        self.listener.holds_changed(change)
        if change.agent in self._wake:
            self._wake[change.agent](urgent=True)
