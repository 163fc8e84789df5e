"""A question and its states."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a question is."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.OPEN: frozenset({State.ANSWERED, State.EXPIRED, State.CANCELLED}),
    State.ANSWERED: frozenset(),
    State.EXPIRED: frozenset(),
    State.CANCELLED: frozenset(),
}

EXPIRED: Final = "[expired]"
"""Who answered when the time was up; no agent can be called so."""
CANCELLED: Final = "[cancelled]"
"""Who answered when the question was taken back."""


@dataclass(frozen=True, slots=True)
class Question:
    """A stored question; its fields are those of the contract, in their order.

    Times are microseconds since 1970, 0 for never; `choices` is empty when any text will do.
    """

    id: int
    asker: str
    recipient: str
    text: str
    choices: list[str]
    multi: bool
    asked: int
    deadline: int
    state: State
    answer: list[str]
    answered_by: str
    resolved: int
