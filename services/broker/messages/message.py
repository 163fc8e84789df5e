"""The states of a message, and a message that is not stored yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import AfterValidator, Field

from services.broker.storage.database import LAST_ID
from services.options import Options
from wire.records.broker import (
    InboxOptions,
    Message,
    MessageState,
    PurgeOptions,
    ReleaseOptions,
    SendOptions,
)
from wire.trace import check_traceparent

MESSAGE: Final = "message"
"""The kind of messages from agents and the operator; services use kinds of their own."""

SEND_OPTIONS: Final = Options(
    SendOptions,
    "option of Send",
    in_reply_to=Field(ge=1, le=LAST_ID),
    dedupe_key=Field(min_length=1, max_length=128),
    kind=Field(pattern=r"^[a-z][a-z-]{0,31}$"),
    traceparent=AfterValidator(check_traceparent),
)

RELEASE_OPTIONS: Final = Options(ReleaseOptions, "option of Release")

INBOX_OPTIONS: Final = Options(
    InboxOptions, "option of SetInboxOptions", max_redeliveries=Field(le=1000)
)

PURGE_OPTIONS: Final = Options(PurgeOptions, "option of PurgeInbox")

TRANSITIONS: Final[Mapping[MessageState, frozenset[MessageState]]] = {
    MessageState.QUEUED: frozenset(
        {
            MessageState.LEASED,
            MessageState.ACKNOWLEDGED,
            MessageState.DEAD,
            MessageState.DROPPED,
            MessageState.RETRACTED,
            MessageState.CANCELLED,
        }
    ),
    MessageState.LEASED: frozenset(
        {
            MessageState.QUEUED,
            MessageState.ACKNOWLEDGED,
            MessageState.DEAD,
            MessageState.CANCELLED,
        }
    ),
    MessageState.DEAD: frozenset(
        {
            MessageState.QUEUED,
            MessageState.ACKNOWLEDGED,
            MessageState.DROPPED,
            MessageState.RETRACTED,
            MessageState.CANCELLED,
        }
    ),
    MessageState.ACKNOWLEDGED: frozenset(),
    MessageState.DROPPED: frozenset(),
    MessageState.RETRACTED: frozenset(),
    MessageState.CANCELLED: frozenset(),
}
"""The next states of each state. A queued message is acknowledged by the operator, or by an agent
that leased the message before the broker was restarted: the new broker knows no earlier leases.
Such an acknowledgement may also come for a dead letter. CANCELLED is one, too."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to store; `in_reply_to` 0 answers nothing."""

    sender: str
    recipient: str
    kind: str
    body: str
    urgent: bool = False
    in_reply_to: int = 0
    dedupe_key: str | None = None
    interrupt: bool = False
    copy_of: int = 0
    """The first message of those to `*`; 0 for that itself, and for a message to one recipient."""
    cause: str = ""
    """The agent or operator whose act makes the hive send this message; empty for the sender."""
    traceparent: str = ""
    """The span that sends the message; empty outside of a trace."""

    @property
    def origin(self) -> str:
        """The party in whose turn the recipient gets the message: see queue.py."""
        return self.cause or self.sender

    def stored(self, message_id: int, queued: int) -> Message:
        """Return the message that was stored at the time `queued`, in microseconds since 1970."""
        return Message(
            id=message_id,
            sender=self.sender,
            recipient=self.recipient,
            kind=self.kind,
            body=self.body,
            queued=queued,
            redeliveries=0,
            urgent=self.urgent,
            in_reply_to=self.in_reply_to,
            state=MessageState.QUEUED,
            interrupt=self.interrupt,
            traceparent=self.traceparent,
        )
