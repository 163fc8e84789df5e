"""A message, its states, and what its sender may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.errors import InvalidArgument

MESSAGE: Final = "message"
"""The kind of what agents and the operator say; all other kinds come from services."""

_KIND_PATTERN: Final = r"^[a-z][a-z-]{0,31}$"
_LAST_ID: Final = 2**63 - 1

Id = Annotated[int, Field(ge=1, le=_LAST_ID)]


class State(StrEnum):
    """Where a message is."""

    QUEUED = "queued"
    LEASED = "leased"
    ACKNOWLEDGED = "acknowledged"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.LEASED, State.ACKNOWLEDGED}),
    State.LEASED: frozenset({State.QUEUED, State.ACKNOWLEDGED}),
    State.ACKNOWLEDGED: frozenset(),
}
"""Queued straight to acknowledged: the operator's own inbox, and an acknowledgement that comes
after the broker was restarted, which knows no lease from before."""


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
    without being acknowledged.
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


class _Arguments(BaseModel):
    """Named arguments from the bus: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SendOptions(_Arguments):
    """The options of Send."""

    in_reply_to: Id | None = None
    dedupe_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    urgent: bool = False
    kind: Annotated[str, Field(pattern=_KIND_PATTERN)] = MESSAGE


class Filter(_Arguments):
    """The filter of ListMessages; `before` and `after` are ids and exclude themselves."""

    to: str | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    kind: str | None = None
    # Text on the bus, so not strictly an instance of the enumeration.
    state: Annotated[State | None, Field(strict=False)] = None
    before: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None
    after: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None


_Model = TypeVar("_Model", bound=_Arguments)


def parse(model: type[_Model], values: Mapping[str, Any], what: str) -> _Model:
    """`values` as a `model`; `what` names them in the error, such as "option of Send".

    Raises:
        InvalidArgument: something is unknown or out of its bounds; the sentence names it.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])[:64]
        if first["type"] == "extra_forbidden":
            known = ", ".join(f.alias or n for n, f in model.model_fields.items())
            sentence = f"There is no {what} called {name!r}; there are {known}."
        else:
            sentence = f"The {what} {name!r} is not valid: {first['msg']}."
        raise InvalidArgument(sentence) from None
