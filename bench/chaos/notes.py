"""The lines between the bench and its clients: orders go in, notes come out, one JSON object each.

Lines that a client has written survive it.
"""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Call(StrEnum):
    """The calls that an order or a note is about."""

    SEND = "Send"
    ASK = "Ask"
    REMIND = "Remind"


class Kind(StrEnum):
    """The kinds of notes."""

    SEEN = "is handed"
    ACKNOWLEDGING = "acknowledges"
    ACKNOWLEDGED = "has acknowledged"
    RELEASING = "gives back"
    LEAVING = "hangs up"
    SENDING = "says"
    SENT = "has said"
    FAILED = "a call failed"
    GONE = "its connection is gone"


@dataclass(frozen=True, slots=True)
class Order:
    """An order to say something, once, under a dedupe key."""

    call: Call
    key: str
    to: str
    body: str

    def line(self) -> bytes:
        """Return the order as a line."""
        return _line(asdict(self))

    @classmethod
    def read(cls, line: bytes) -> "Order":
        """Return the order that is on a line."""
        values = json.loads(line)
        return cls(**{**values, "call": Call(values["call"])})


@dataclass(frozen=True, slots=True)
class Note:
    """An action of a client at a time in ns; what does not apply to its kind is empty."""

    kind: Kind
    at: int
    ids: list[int] = field(default_factory=list)
    """The messages."""
    count: int = 0
    """The redeliveries of the message that is seen."""
    call: Call = Call.SEND
    key: str = ""
    body: str = ""
    error: str = ""

    def line(self) -> bytes:
        """Return the note as a line."""
        return _line(asdict(self))

    @classmethod
    def read(cls, line: bytes) -> "Note":
        """Return the note that is on a line."""
        values = json.loads(line)
        return cls(**{**values, "kind": Kind(values["kind"]), "call": Call(values["call"])})


def _line(values: dict[str, object]) -> bytes:
    return json.dumps(values).encode() + b"\n"
