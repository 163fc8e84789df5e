"""The questions on disk. All functions are called within a transaction."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.broker.deadlines.table import DeadlineTable
from services.broker.messages import agents, insertion, queue
from services.broker.messages.message import Draft
from services.broker.messages.queue import Bounds
from services.broker.questions import texts
from services.broker.questions.question import NewQuestion
from wire.errors import LimitExceeded, NotFound
from wire.names import OPERATOR, SYSTEM
from wire.records.broker import MessageChange, Question, QuestionState

TABLE: Final = DeadlineTable("question", QuestionState.OPEN)

COLUMNS: Final = (
    "question.id AS id, question.asker AS asker, question.recipient AS recipient, "
    "question.text AS text, question.choices AS choices, question.multi AS multi, "
    "question.asked AS asked, question.due AS due, question.state AS state, "
    "question.answer AS answer, question.answered_by AS answered_by, "
    "question.resolved AS resolved, question.permission AS permission, question.rule AS rule"
)
"""The columns that `question` needs; `answer` and `text` are also columns of question_search."""

TEXTS: Final = ("text", "choices", "answer")
"""The columns that may be large."""


@dataclass(frozen=True, slots=True)
class QuestionChange:
    """A question after a change."""

    question: Question
    messages: list[MessageChange]
    """The message about the change; empty when nobody is told."""
    released: list[str] = field(default_factory=list)
    """The agents whose holds the answer has ended."""


def question(row: sqlite3.Row) -> Question:
    """Return the question of a row of COLUMNS."""
    return Question(
        id=row["id"],
        asker=row["asker"],
        recipient=row["recipient"],
        text=row["text"],
        choices=decode_texts(row["choices"]),
        multi=bool(row["multi"]),
        asked=row["asked"],
        deadline=row["due"] or 0,
        state=QuestionState(row["state"]),
        answer=decode_texts(row["answer"]),
        answered_by=row["answered_by"],
        resolved=row["resolved"] or 0,
        permission=row["permission"],
        rule=row["rule"],
    )


def get(db: sqlite3.Connection, number: int) -> Question:
    """Return the question `number`.

    Raises:
        NotFound: there is none.
    """
    row = db.execute(f"SELECT {COLUMNS} FROM question WHERE id = ?", (number,)).fetchone()  # noqa: S608
    if row is None:
        raise NotFound(
            f"There is no question {number}; get_open_threads and ListQuestions show them."
        )
    return question(row)


def known(db: sqlite3.Connection, asker: str, dedupe_key: str | None) -> int | None:
    """Return the id of the question that `asker` has asked with this key, if any."""
    row = db.execute(
        "SELECT id FROM question WHERE asker = ? AND dedupe_key = ?", (asker, dedupe_key)
    ).fetchone()
    return None if row is None else int(row["id"])


def waiting(db: sqlite3.Connection, asker: str, permission: str) -> int | None:
    """Return the id of the open question of `asker` about this tool call, if any."""
    row = db.execute(
        "SELECT id FROM question INDEXED BY question_open_from "
        "WHERE asker = ? AND state = 'open' AND permission = ?",
        (asker, permission),
    ).fetchone()
    return None if row is None else int(row["id"])


def ask(
    db: sqlite3.Connection, asked: NewQuestion, max_open: int, bounds: Bounds
) -> QuestionChange:
    """Store a question, and the message to the agent that is asked.

    Raises:
        NotFound: there is no such agent.
        LimitExceeded: the asker has `max_open` open ones, or too many messages in the inbox.
    """
    agents.check_recipient(db, asked.recipient)
    _check_count(db, asked.asker, max_open)
    if asked.recipient != OPERATOR:
        queue.check_room(db, asked.asker, asked.recipient, bounds)
    deadline = asked.deadline
    inserted = db.execute(
        "INSERT INTO question "
        "(asker, recipient, text, choices, multi, asked, due, boot, boot_due, "
        "dedupe_key, permission, rule, traceparent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
            asked.permission,
            asked.rule,
            asked.traceparent,
        ),
    )
    stored = get(db, int(inserted.lastrowid or 0))
    _index(db, stored)
    if stored.recipient == OPERATOR:
        return QuestionChange(stored, [])
    words = texts.asked(stored)
    told = _tell(db, stored, stored.recipient, texts.ASKED, words, stored.asker)
    return QuestionChange(stored, told)


def resolve(
    db: sqlite3.Connection, before: Question, after: Question, *, tell: bool
) -> QuestionChange:
    """Store the end of a question, and, if `tell`, the message to its asker about it."""
    # Without an answer the words are the same. To index them again would hold up all writers when
    # large questions end together.
    if after.answer:
        _unindex(db, before)
    db.execute(
        "UPDATE question SET state = ?, answer = ?, answered_by = ?, resolved = ? WHERE id = ?",
        (after.state, encode_texts(after.answer), after.answered_by, after.resolved, after.id),
    )
    if after.answer:
        _index(db, after)
    if not tell or after.asker == SYSTEM:
        return QuestionChange(after, [])
    by = after.answered_by if after.state is QuestionState.ANSWERED else SYSTEM
    if after.permission:
        kind, words = texts.PERMISSION_ANSWERED, texts.permission_answered(after)
        return QuestionChange(after, _tell(db, after, after.asker, kind, words, by))
    words = texts.answered(after)
    return QuestionChange(after, _tell(db, after, after.asker, texts.ANSWERED, words, by))


def _check_count(db: sqlite3.Connection, asker: str, most: int) -> None:
    row = db.execute(
        "SELECT count(*) AS open FROM question INDEXED BY question_open_from "
        "WHERE asker = ? AND state = 'open'",
        (asker,),
    ).fetchone()
    count = row["open"]
    if count >= most:
        raise LimitExceeded(
            f"{asker} has {count} open questions, which is the maximum (max_open_questions in the "
            "section [broker] of hyperhive.toml). Wait for an answer, or cancel one."
        )


def _tell(
    db: sqlite3.Connection, about: Question, to: str, kind: str, words: str, by: str
) -> list[MessageChange]:
    """Store a message about a question, in the turn of the party that caused it.

    An agent could otherwise fill the place of the hive's own messages by asking and cancelling.
    The message belongs to the trace of the question, also when a person has answered it.
    """
    row = db.execute("SELECT traceparent FROM question WHERE id = ?", (about.id,)).fetchone()
    draft = Draft(
        sender=SYSTEM,
        recipient=to,
        kind=kind,
        body=words,
        # A turn waits for it.
        urgent=kind == texts.PERMISSION_ANSWERED,
        cause=by,
        traceparent=row["traceparent"],
    )
    return [insertion.insert(db, draft)]


def _index(db: sqlite3.Connection, question: Question) -> None:
    db.execute(
        "INSERT INTO question_search (rowid, text, answer) VALUES (?, ?, ?)",
        (question.id, question.text, encode_texts(question.answer)),
    )


def _unindex(db: sqlite3.Connection, question: Question) -> None:
    # The index has no copy of the texts: it must be given them, or it would keep the words.
    db.execute(
        "INSERT INTO question_search (question_search, rowid, text, answer) "
        "VALUES ('delete', ?, ?, ?)",
        (question.id, question.text, encode_texts(question.answer)),
    )


def encode_texts(values: Sequence[str]) -> str:
    """Return texts as JSON in which the search finds their words.

    Only quotes and backslashes are escaped: a line break as `\\n` would make `nword` of the word
    behind it. Strict JSON has no line breaks in texts; `decode_texts` is not strict.
    """
    escaped = (text.replace("\\", "\\\\").replace('"', '\\"') for text in values)
    return "[" + ", ".join(f'"{text}"' for text in escaped) + "]"


def decode_texts(text: str) -> list[str]:
    """Return the texts that `encode_texts` was given."""
    return [str(item) for item in json.loads(text, strict=False)]
