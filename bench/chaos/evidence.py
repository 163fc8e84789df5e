"""The evidence of a run: signals, sightings, sends, and the final store."""

from dataclasses import dataclass, field
from enum import StrEnum


class Said(StrEnum):
    """The kinds of reports about a message; LOST: the broker itself has gone."""

    QUEUED = "message queued"
    DELIVERED = "message handed out"
    ACKNOWLEDGED = "message acknowledged"
    PARKED = "message parked"
    LOST = "the broker was lost"


@dataclass(frozen=True, slots=True)
class Told:
    """A change of a message, from the broker's signal; `count` is its redeliveries."""

    said: Said
    id: int = 0
    to: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that a client was handed, at a time of the monotonic clock in ns."""

    client: str
    at: int
    id: int
    count: int
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A message that a client has acknowledged: the call returned at this time."""

    client: str
    at: int
    id: int


@dataclass(slots=True)
class Sent:
    """A send, question or reminder, under one dedupe key or in one call."""

    body: str
    began: int
    returned: int = 0
    ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the broker lists it at the end."""

    id: int
    sender: str
    to: str
    kind: str
    body: str
    count: int
    in_reply_to: int
    state: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the broker lists it at the end."""

    id: int
    asker: str
    to: str
    text: str
    state: str


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder as the broker lists it at the end."""

    id: int
    owner: str
    body: str
    state: str
    message: int


@dataclass(slots=True)
class Evidence:
    """Everything that is known about a run."""

    told: list[Told] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    asked: dict[str, Sent] = field(default_factory=dict)
    reminded: dict[str, Sent] = field(default_factory=dict)
    results: list[tuple[str, int, str]] = field(default_factory=list)
    """Agent, id and body of each `send` that an agent's model saw return."""
    stored: list[Stored] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    kills: int = 0
