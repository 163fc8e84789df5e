"""The questions on disk: what is done with them within a transaction."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.broker.deadlines.clock import Deadline
from services.broker.deadlines.table import DeadlineTable
from services.broker.messages import store
from services.broker.messages.message import Draft
from services.broker.questions import texts as question_words
from services.broker.questions.question import Question, State
from wire.errors import LimitExceeded, NotFound
from wire.names import OPERATOR, SYSTEM

TABLE: Final = DeadlineTable("question", State.OPEN)

COLUMNS: Final = (
    "question.id, question.asker, question.recipient, question.text, question.choices, "
    "question.multi, question.asked, question.due, question.state, question.answer, "
    "question.answered_by, question.resolved"
)
"""What `question` takes; `answer` and `text` are also columns of question_search."""


@dataclass(frozen=True, slots=True)
class NewQuestion:
    """A question that is to be stored; `asked` is in microseconds since 1970."""

    asker: str
    recipient: str
    text: str
    choices: list[str]
    multi: bool
    asked: int
    deadline: Deadline | None
    dedupe_key: str | None


@dataclass(frozen=True, slots=True)
class QuestionChange:
    """What has become of a question, and the message about it: its id, or 0 for none."""

    question: Question
    message: int


def question(row: Sequence[Any]) -> Question:
    """The question of a row of COLUMNS."""
    number, asker, recipient, text, choices, multi, asked, due, state, answer, by, resolved = row
    return Question(
        id=number,
        asker=asker,
        recipient=recipient,
        text=text,
        choices=decode_texts(choices),
        multi=bool(multi),
        asked=asked,
        deadline=due or 0,
        state=State(state),
        answer=decode_texts(answer),
        answered_by=by,
        resolved=resolved or 0,
    )


def get(db: sqlite3.Connection, number: int) -> Question:
    """The question `number`. Raises NotFound."""
    row = db.execute(f"SELECT {COLUMNS} FROM question WHERE id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFound(
            f"There is no question {number}; get_open_threads and ListQuestions show them."
        )
    return question(row)


def known(db: sqlite3.Connection, asker: str, dedupe_key: str | None) -> int | None:
    """The question that `asker` has asked with this key."""
    row = db.execute(
        "SELECT id FROM question WHERE asker = ? AND dedupe_key = ?", (asker, dedupe_key)
    ).fetchone()
    return None if row is None else int(row[0])


def ask(db: sqlite3.Connection, asked: NewQuestion, max_open: int) -> QuestionChange:
    """Store a question, and the message to the agent that is asked.

    Raises:
        NotFound: there is no such agent.
        LimitExceeded: the asker has `max_open` open ones.
    """
    store.check_recipient(db, asked.recipient)
    _check_room(db, asked.asker, max_open)
    deadline = asked.deadline
    inserted = db.execute(
        "INSERT INTO question "
        "(asker, recipient, text, choices, multi, asked, due, boot, boot_due, dedupe_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            asked.asker,
            asked.recipient,
            asked.text,
            encode_texts(asked.choices),
            asked.multi,
            asked.asked,
            deadline and deadline.due,
            deadline and deadline.boot,
            deadline and deadline.boot_due,
            asked.dedupe_key,
        ),
    )
    stored = get(db, int(inserted.lastrowid or 0))
    _index(db, stored)
    if stored.recipient == OPERATOR:
        return QuestionChange(stored, 0)
    words = question_words.asked(stored)
    return QuestionChange(stored, _say(db, stored.recipient, question_words.ASKED, words))


def resolve(
    db: sqlite3.Connection, before: Question, after: Question, *, tell: bool
) -> QuestionChange:
    """Store how a question has ended, and, if `tell`, the message to its asker about it."""
    # Without an answer the words are the same. To take them out and in again would hold up
    # everybody who writes, when large questions end together.
    if after.answer:
        _unindex(db, before)
    db.execute(
        "UPDATE question SET state = ?, answer = ?, answered_by = ?, resolved = ? WHERE id = ?",
        (after.state, encode_texts(after.answer), after.answered_by, after.resolved, after.id),
    )
    if after.answer:
        _index(db, after)
    if not tell:
        return QuestionChange(after, 0)
    words = question_words.answered(after)
    return QuestionChange(after, _say(db, after.asker, question_words.ANSWERED, words))


def _check_room(db: sqlite3.Connection, asker: str, most: int) -> None:
    (count,) = db.execute(
        "SELECT count(*) FROM question INDEXED BY question_open_from "
        "WHERE asker = ? AND state = 'open'",
        (asker,),
    ).fetchone()
    if count >= most:
        raise LimitExceeded(
            f"{asker} has {count} open questions, which is the most (max_open_questions in the "
            "section [broker] of hyperhive.toml). Wait for an answer, or cancel one."
        )


def _say(db: sqlite3.Connection, to: str, kind: str, words: str) -> int:
    return store.insert(db, Draft(sender=SYSTEM, recipient=to, kind=kind, body=words))


def _index(db: sqlite3.Connection, question: Question) -> None:
    db.execute(
        "INSERT INTO question_search (rowid, text, answer) VALUES (?, ?, ?)",
        (question.id, question.text, encode_texts(question.answer)),
    )


def _unindex(db: sqlite3.Connection, question: Question) -> None:
    # The index has no copy of what it was made from: it is told, or it would keep the words.
    db.execute(
        "INSERT INTO question_search (question_search, rowid, text, answer) "
        "VALUES ('delete', ?, ?, ?)",
        (question.id, question.text, encode_texts(question.answer)),
    )


def encode_texts(texts: Sequence[str]) -> str:
    """`texts` as JSON in which the words are those of the texts, for the search.

    So nothing is escaped but quotes and backslashes: a line break as `\\n` would make `nword` of
    the word behind it. Strict JSON has no line breaks in texts; `decode_texts` is not strict.
    """
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "[" + ", ".join(f'"{text}"' for text in escaped) + "]"


def decode_texts(text: str) -> list[str]:
    """Return the texts that `encode_texts` was given."""
    return [str(item) for item in json.loads(text, strict=False)]
