"""The filters of ListMessages and ListQuestions."""

from typing import Annotated

from pydantic import Field

from services.broker.arguments import LAST_ID, Arguments
from services.broker.messages.message import State as MessageState
from services.broker.questions.question import State as QuestionState

_Id = Annotated[int, Field(ge=0, le=2**64 - 1)]
_Time = Annotated[int, Field(ge=-(2**63), le=LAST_ID)]


class Page(Arguments):
    """What the filters have in common.

    `agent` is on either side. `before` and `after` are ids and exclude themselves. Times are
    microseconds since 1970; `since` includes itself, `until` does not. `text`: see search.py.
    """

    to: str | None = None
    sender: Annotated[str | None, Field(alias="from")] = None
    agent: str | None = None
    text: str | None = None
    before: _Id | None = None
    after: _Id | None = None
    since: _Time | None = None
    until: _Time | None = None


class MessageFilter(Page):
    """The filter of ListMessages."""

    kind: str | None = None
    # Text on the bus, so not strictly an instance of the enumeration.
    state: Annotated[MessageState | None, Field(strict=False)] = None


class QuestionFilter(Page):
    """The filter of ListQuestions."""

    state: Annotated[QuestionState | None, Field(strict=False)] = None
