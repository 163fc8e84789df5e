"""The events of the broker, which the interface emits as signals."""

from collections.abc import Callable
from typing import Protocol

from wire.records.broker import Message, Question


class Events(Protocol):
    """A listener to the events."""

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None:
        """A message is queued in the inbox `to`: a new one, or one whose lease ended."""

    def delivered(self, message: Message) -> None:
        """A message was leased."""

    def acknowledged(self, message_id: int, to: str) -> None:
        """A message was acknowledged."""

    def parked(self, message_id: int, to: str, redeliveries: int) -> None:
        """A message became a dead letter."""

    def dropped(self, message_id: int, to: str) -> None:
        """A dead letter was dropped."""

    def question_added(self, question: Question) -> None:
        """A question was asked."""

    def question_resolved(self, question: Question) -> None:
        """A question was answered or cancelled, or it expired."""

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        """A reminder became a message."""


class NoListener:
    """Ignores the events."""

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None: ...  # noqa: D102
    def delivered(self, message: Message) -> None: ...  # noqa: D102
    def acknowledged(self, message_id: int, to: str) -> None: ...  # noqa: D102
    def parked(self, message_id: int, to: str, redeliveries: int) -> None: ...  # noqa: D102
    def dropped(self, message_id: int, to: str) -> None: ...  # noqa: D102
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

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None:
        """Announce that a message is queued in the inbox `to`. It is on disk already."""
        self.listener.queued(message_id, sender, to, kind)
        if to in self._wake:
            self._wake[to]()
