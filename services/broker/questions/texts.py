"""The texts of the messages about questions, to askers and to agents that are asked.

The broker's own words come first, then those of others. So nobody can write a text that looks as
if the broker had said it.
"""

import json
from typing import Final

from services.broker.deadlines.clock import in_words
from wire.records.broker import Question, QuestionState

ASKED: Final = "question-asked"
"""The kind of the message to an agent that is asked."""
ANSWERED: Final = "question-answered"
"""The kind of the message to the asker."""
PERMISSION_ANSWERED: Final = "permission-answered"
"""The kind of the message to the harness whose tool call waits for the answer."""

_END: Final = {
    QuestionState.ANSWERED: ".",
    QuestionState.EXPIRED: ": it has expired. Go on without an answer, or ask again.",
    QuestionState.CANCELLED: ": the operator has cancelled it. Go on without an answer.",
}

SHOWN: Final = 200
"""The most characters of the question in the message to its asker."""


def asked(question: Question) -> str:
    """Return the text of the message to the agent that is asked."""
    lines = [f"{question.asker} asks you question {question.id}. {_how(question)}"]
    if question.deadline:
        lines.append(f"It expires at {in_words(question.deadline)}.")
    if question.choices:
        lines.append(f"The choices, in the words of {question.asker}:")
        lines += [f"{number}. {text}" for number, text in enumerate(question.choices, 1)]
    lines += ["", f"The question, in the words of {question.asker}:", question.text]
    return "\n".join(lines)


def answered(question: Question) -> str:
    """Return the text of the message to the asker of a question that is no longer open."""
    text = question.text
    shown = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    lines = [
        f"Your question {question.id} to {question.recipient} was answered by "
        f"{question.answered_by}{_END[question.state]}",
        "",
        "You asked:",
        shown,
    ]
    if question.state is QuestionState.ANSWERED:
        lines += ["", "The answer:", *question.answer]
    return "\n".join(lines)


def permission_answered(question: Question) -> str:
    """Return the text of the message to the harness that asked about a tool call.

    The harness reads the first lines; those of others are JSON, so each is one line.
    """
    lines = [
        f"Your request {question.id} for a permission was {_ended(question)}",
        f"Call: {question.permission}",
        f"Rule: {json.dumps(question.rule, ensure_ascii=False)}",
        f"Answer: {json.dumps(question.answer, ensure_ascii=False)}",
        "",
        "You asked:",
        question.text,
    ]
    return "\n".join(lines)


def _ended(question: Question) -> str:
    match question.state:
        case QuestionState.EXPIRED:
            return "not answered: it has expired."
        case QuestionState.CANCELLED:
            return "not answered: the operator has cancelled it."
    return f"answered by {question.answered_by}."


def _how(question: Question) -> str:
    if question.multi:
        what = "one or more of the choices, each exactly as it is written"
    elif question.choices:
        what = "one of the choices, exactly as it is written"
    else:
        what = "your answer as one text"
    return f"Answer with the tool answer: id {question.id}, and {what}."
