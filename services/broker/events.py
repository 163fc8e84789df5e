"""What the broker tells to whoever listens."""

from typing import Protocol

from services.broker.messages.message import Message
from services.broker.questions.question import Question


class Events(Protocol):
    """Who wants to hear what happens."""

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None:
        """A message waits in the inbox `to`: a new one, or one whose lease ended."""

    def delivered(self, message: Message) -> None:
        """A message was leased."""

    def acknowledged(self, message_id: int, to: str) -> None:
        """A message is done."""

    def parked(self, message_id: int, to: str, redeliveries: int) -> None:
        """A message became a dead letter."""

    def dropped(self, message_id: int, to: str) -> None:
        """A dead letter was ended."""

    def question_added(self, question: Question) -> None:
        """Somebody was asked."""

    def question_resolved(self, question: Question) -> None:
        """A question was answered or cancelled, or its time is up."""

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        """A reminder has become a message."""


class NoListener:
    """Nobody listens."""

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None: ...  # noqa: D102
    def delivered(self, message: Message) -> None: ...  # noqa: D102
    def acknowledged(self, message_id: int, to: str) -> None: ...  # noqa: D102
    def parked(self, message_id: int, to: str, redeliveries: int) -> None: ...  # noqa: D102
    def dropped(self, message_id: int, to: str) -> None: ...  # noqa: D102
    def question_added(self, question: Question) -> None: ...  # noqa: D102
    def question_resolved(self, question: Question) -> None: ...  # noqa: D102
    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None: ...  # noqa: D102
