"""A message, its states, and what its sender may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from services.broker.arguments import Arguments, Id

MESSAGE: Final = "message"
"""The kind of what agents and the operator say; all other kinds come from services."""

_KIND_PATTERN: Final = r"^[a-z][a-z-]{0,31}$"


class State(StrEnum):
    """Where a message is."""

    QUEUED = "queued"
    LEASED = "leased"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    DROPPED = "dropped"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.LEASED, State.ACKNOWLEDGED, State.DEAD}),
    State.LEASED: frozenset({State.QUEUED, State.ACKNOWLEDGED, State.DEAD}),
    State.DEAD: frozenset({State.QUEUED, State.ACKNOWLEDGED, State.DROPPED}),
    State.ACKNOWLEDGED: frozenset(),
    State.DROPPED: frozenset(),
}
"""Queued straight to acknowledged: the operator's own inbox, and an acknowledgement that comes
after the broker was restarted, which knows no lease from before. That one may come for a dead
letter, too; otherwise the operator queues it again or drops it."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is to be stored; `in_reply_to` 0 answers nothing."""

    sender: str
    recipient: str
    kind: str
    body: str
    urgent: bool = False
    in_reply_to: int = 0
    dedupe_key: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message; its fields are those of the contract, in their order.

    `queued` is in microseconds since 1970; `redeliveries` counts how often it was handed out
    without being acknowledged; `invocation` is the InvocationID of the recipient's container that
    it was handed to last before this ("": never, or not known), and `earlier_life` whether that
    one has ended.
    """

    id: int
    sender: str
    recipient: str
    kind: str
    body: str
    queued: int
    redeliveries: int
    urgent: bool
    in_reply_to: int
    state: State
    invocation: str = ""
    earlier_life: bool = False


class SendOptions(Arguments):
    """The options of Send."""

    in_reply_to: Id | None = None
    dedupe_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    urgent: bool = False
    kind: Annotated[str, Field(pattern=_KIND_PATTERN)] = MESSAGE
