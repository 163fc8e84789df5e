"""The questions on disk: what is done with them within a transaction."""

import json
from collections.abc import Sequence
from typing import Any, Final

from services.broker.question import Question, State

COLUMNS: Final = (
    "question.id, question.asker, question.recipient, question.text, question.choices, "
    "question.multi, question.asked, question.due, question.state, question.answer, "
    "question.answered_by, question.resolved"
)
"""What `question` takes; `answer` and `text` are also columns of question_search."""


def question(row: Sequence[Any]) -> Question:
    """The question of a row of COLUMNS."""
    number, asker, recipient, text, choices, multi, asked, due, state, answer, by, resolved = row
    return Question(
        id=number,
        asker=asker,
        recipient=recipient,
        text=text,
        choices=json.loads(choices),
        multi=bool(multi),
        asked=asked,
        deadline=due or 0,
        state=State(state),
        answer=json.loads(answer),
        answered_by=by,
        resolved=resolved or 0,
    )
