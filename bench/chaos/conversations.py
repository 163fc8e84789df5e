"""The rules of check.py for questions and reminders: each ends exactly once.

They compare the lists of questions and reminders with the stored messages, at the end. So they do
not depend on signals.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from bench.chaos.check import once
from bench.chaos.evidence import Evidence

_ANSWERED: Final = re.compile(r"Your question (\d+) ")
_ASKED: Final = re.compile(r"\S+ asks you question (\d+)\.")


def violations(evidence: Evidence) -> list[str]:
    """Return a sentence for each violation; empty when everything holds."""
    questions = ((one.id, one.text) for one in evidence.questions)
    reminders = ((one.id, one.body) for one in evidence.reminders)
    return [
        *once("question", evidence.asked, questions),
        *once("reminder", evidence.reminded, reminders),
        *_questions(evidence),
        *_reminders(evidence),
    ]


def _questions(evidence: Evidence) -> Iterator[str]:
    """An agent is asked once, and the asker is told of the end once.

    Proves for each stored question that it has ended, and that none of its messages was lost or
    doubled.
    """
    asked = _told_of(evidence, "question-asked", _ASKED)
    answered = _told_of(evidence, "question-answered", _ANSWERED)
    for question in evidence.questions:
        if question.state == "open":
            yield f"question {question.id} to {question.to} is open in the end"
        wanted = int(question.to != "operator")
        times = asked[question.to, question.id]
        if times != wanted:
            yield f"{question.to} was asked question {question.id} {times} times"
        times = answered[question.asker, question.id]
        if times != 1:
            yield f"{question.asker} was told {times} times how question {question.id} ended"
    known = {question.id for question in evidence.questions}
    for asker, id in answered:
        # Older ones are of an earlier run.
        if id not in known and not 0 < id < min(known, default=0):
            yield f"{asker} was told of the end of question {id}, which does not exist"


def _told_of(evidence: Evidence, kind: str, pattern: "re.Pattern[str]") -> Counter[tuple[str, int]]:
    """Return how often a message of `kind` told each recipient of each question."""
    found = ((one.to, pattern.match(one.body)) for one in evidence.stored if one.kind == kind)
    return Counter((to, int(match[1]) if match else 0) for to, match in found)


def _reminders(evidence: Evidence) -> Iterator[str]:
    """Each reminder became one message, to its owner.

    Proves for each stored reminder that it was delivered once, and that no message has none.
    """
    messages = {one.id: one for one in evidence.stored if one.kind == "reminder"}
    for reminder in evidence.reminders:
        message = messages.pop(reminder.message, None)
        if reminder.state != "delivered":
            yield f"reminder {reminder.id} is {reminder.state} in the end"
        elif message is None:
            yield f"reminder {reminder.id} was delivered as no message"
        elif message.to != reminder.owner or reminder.body not in message.body:
            yield f"reminder {reminder.id} was delivered as another message: {message.id}"
    for id in messages:
        yield f"message {id} is a reminder that nobody wanted"
