"""The evidence of a run: signals, records of clients, calls, and the final store."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from wire.records.broker import MessageState


def hand_outs(state: str, count: int) -> int:
    """Return how often a message was handed out that is in `state` with `count` redeliveries."""
    # A hand-out that has not ended yet, or that ended well, is not a redelivery.
    return count + (state in (MessageState.LEASED, MessageState.ACKNOWLEDGED))


@dataclass(frozen=True, slots=True)
class Told:
    """A row of the signal MessagesChanged; `count` is its redeliveries."""

    id: int
    state: MessageState
    to: str = ""
    count: int = 0
    signal: int = 0
    """The number of the signal. The order of rows within a signal means nothing."""

    @property
    def hand_outs(self) -> int:
        """The number of hand-outs that the row proves; the first of them has the count 0."""
        return hand_outs(self.state, self.count)


@dataclass(frozen=True, slots=True)
class Lost:
    """The broker left the bus: with it went its leases, and rows that it had not told yet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A message that a client was handed, at a time of the clock in ns."""

    client: str
    at: int
    id: int
    count: int
    body: str | None = None


@dataclass(frozen=True, slots=True)
class LetGo:
    """The end of a client's hold of a message: from this time on the lease may be over."""

    client: str
    at: int
    id: int
    again: bool
    """Whether the client gave the message back, rather than acknowledge it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A message that a client has acknowledged: the call returned at this time."""

    client: str
    at: int
    id: int


@dataclass(slots=True)
class Disturbance:
    """The time from before a kill until the hive went on; `ended` is 0 when it never did."""

    began: int
    ended: int = 0


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

    @property
    def hand_outs(self) -> int:
        """The number of hand-outs that the broker has counted."""
        return hand_outs(self.state, self.count)


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

    told: list[Told | Lost] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    let_go: list[LetGo] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    asked: dict[str, Sent] = field(default_factory=dict)
    reminded: dict[str, Sent] = field(default_factory=dict)
    results: list[tuple[str, int, str]] = field(default_factory=list)
    """Agent, id and body of each `send` that an agent's model saw return."""
    stored: list[Stored] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    reminders: list[Reminder] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    kills: int = 0

    @property
    def rows(self) -> Iterator[Told]:
        """The rows of all signals, in the order of the signals."""
        return (one for one in self.told if isinstance(one, Told))
