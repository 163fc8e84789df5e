"""The states of a question, and one that is not stored yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.broker.deadlines.clock import Deadline
from wire.records.broker import QuestionState

TRANSITIONS: Final[Mapping[QuestionState, frozenset[QuestionState]]] = {
    QuestionState.OPEN: frozenset(
        {QuestionState.ANSWERED, QuestionState.EXPIRED, QuestionState.CANCELLED}
    ),
    QuestionState.ANSWERED: frozenset(),
    QuestionState.EXPIRED: frozenset(),
    QuestionState.CANCELLED: frozenset(),
}

EXPIRED: Final = "[expired]"
"""The value of `answered_by` of a question that expired; no agent can have this name."""
CANCELLED: Final = "[cancelled]"
"""The value of `answered_by` of a question that was cancelled."""


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question to store; `asked` is in microseconds since 1970."""

    asker: str
    recipient: str
    text: str
    choices: list[str]
    multi: bool
    asked: int
    deadline: Deadline | None
    dedupe_key: str | None
    permission: str = ""
    rule: str = ""
    traceparent: str = ""
    """The span that asks; empty outside of a trace."""
