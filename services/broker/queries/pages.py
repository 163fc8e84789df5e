"""Pages of the history in SQL: the newest messages and questions that match a filter."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from services.broker.messages import rows
from services.broker.queries.search import query
from services.broker.questions import store as question_store
from services.broker.storage.database import LAST_ID, as_list
from services.broker.storage.time_range import ids_in_range
from wire.records.broker import (
    Message,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
)


def messages(
    db: sqlite3.Connection,
    *,
    wanted: MessageFilter,
    limit: int,
    party: str | None,
    leased: Collection[int],
) -> list[Message]:
    """Read the newest `limit` messages that match, oldest first.

    Args:
        db: the connection that reads.
        wanted: the filter.
        limit: the most messages; fewer come when they are large.
        party: only messages to or from this one; None for everybody's.
        leased: ids of the messages that are leased now.
    """
    parameters = _parameters(wanted, limit, party) | {"leased": as_list(leased)}
    if wanted.since is not None or wanted.until is not None:
        parameters["first"], parameters["end"] = ids_in_range(db, wanted.since, wanted.until)
    newest_first = db.execute(
        f"SELECT {rows.COLUMNS} FROM ({_found(_MESSAGES, wanted, party)}) AS found "  # noqa: S608
        "JOIN message USING (id) JOIN body USING (id) ORDER BY message.id DESC LIMIT :limit",
        parameters,
    )
    newest = [rows.listed(row, leased) for row in rows.bounded(newest_first, texts=("body",))]
    return newest[::-1]


def questions(
    db: sqlite3.Connection, *, wanted: QuestionFilter, limit: int, party: str | None
) -> list[Question]:
    """Read the newest `limit` questions that match, oldest first; see `messages`."""
    newest_first = db.execute(
        f"SELECT {question_store.COLUMNS} "  # noqa: S608 - constants only
        f"FROM ({_found(_QUESTIONS, wanted, party)}) AS found "
        "JOIN question USING (id) ORDER BY question.id DESC LIMIT :limit",
        _parameters(wanted, limit, party),
    )
    newest = [
        question_store.question(row) for row in rows.bounded(newest_first, question_store.TEXTS)
    ]
    return newest[::-1]


def _parameters(
    wanted: MessageFilter | QuestionFilter, limit: int, party: str | None
) -> dict[str, object]:
    given = {key: value for key, value in wanted._asdict().items() if value is not None}
    # No id is greater than sqlite's integers.
    given |= {bound: min(given[bound], LAST_ID) for bound in ("before", "after") if bound in given}
    if wanted.text is not None:
        given["text"] = query(wanted.text)
    return {**given, "limit": limit, "party": party}


@dataclass(frozen=True, slots=True)
class _Table:
    """A table: its name, the column of the sender, and conditions.

    Attributes:
        name: the name.
        sender: the column of the sender.
        conditions: one for each field of the filter.
        states: one for each state.
    """

    name: str
    sender: str
    conditions: Mapping[str, str]
    states: Mapping[str, str]


_SHARED: Final = {
    "recipient": "recipient = :recipient",
    "before": "{id} < :before",
    "after": "{id} > :after",
}
_THREAD: Final = """{id} IN (
  WITH RECURSIVE
    answered(id) AS (
      VALUES (:thread)
      UNION SELECT in_reply_to FROM message JOIN answered USING (id) WHERE in_reply_to > 0
    ),
    thread(id) AS (
      SELECT id FROM answered
      UNION SELECT answer.id FROM thread JOIN message AS answer
        ON answer.in_reply_to = thread.id AND answer.in_reply_to > 0
    )
  SELECT id FROM thread
)"""
"""The condition for the messages of a thread. Its last term chooses the index."""
_OPEN: Final = "acknowledged IS NULL AND parked IS NULL"
_HELD: Final = "{id} IN (SELECT value FROM json_each(:leased))"
_NOT_HELD: Final = "{id} NOT IN (SELECT value FROM json_each(:leased))"
_ENDINGS: Final = (MessageState.RETRACTED, MessageState.CANCELLED)
_MESSAGES: Final = _Table(
    "message",
    "sender",
    {
        **_SHARED,
        "sender": "sender = :sender",
        "kind": "kind = :kind",
        "thread": _THREAD,
        "since": "{id} >= :first AND {id} < :end AND queued >= :since",
        "until": "{id} >= :first AND {id} < :end AND queued < :until",
    },
    {
        MessageState.QUEUED: f"{_OPEN} AND {_NOT_HELD}",
        MessageState.LEASED: f"{_OPEN} AND {_HELD}",
        MessageState.ACKNOWLEDGED: "acknowledged IS NOT NULL AND parked IS NULL AND ending = ''",
        MessageState.DEAD: "acknowledged IS NULL AND parked IS NOT NULL",
        MessageState.DROPPED: "acknowledged IS NOT NULL AND parked IS NOT NULL AND ending = ''",
        # The first condition chooses the index.
        **{state: f"ending <> '' AND ending = '{state}'" for state in _ENDINGS},
    },
)
_QUESTIONS: Final = _Table(
    "question",
    "asker",
    {
        **_SHARED,
        "sender": "asker = :sender",
        "since": "asked >= :since",
        "until": "asked < :until",
    },
    dict.fromkeys(QuestionState, "state = :state"),
)


def _found(table: _Table, wanted: MessageFilter | QuestionFilter, party: str | None) -> str:
    """Return the SELECT of the ids of the newest rows that match."""
    asked = table.conditions
    conditions = [asked[key] for key in asked if getattr(wanted, key) is not None]
    if wanted.state is not None:
        conditions.append(table.states[wanted.state])
    sides = _sides(table, wanted.agent, party)
    if wanted.text is None:
        # Each side alone walks an index backwards and stops; `a OR b` would sort all matches.
        return " UNION ".join(_walk(table.name, [*side, *conditions]) for side in sides)
    words = f"{table.name}_search"
    either = " OR ".join(f"({' AND '.join(side)})" for side in sides)
    where = " AND ".join([f"{words} MATCH :text", f"({either})", *conditions])
    # The search index gives ids in order, so sqlite reads rows only until there are enough.
    return (
        f"SELECT {words}.rowid AS id FROM {words} "  # noqa: S608 - constants only
        f"CROSS JOIN {table.name} ON {table.name}.id = {words}.rowid "
        f"WHERE {where} ORDER BY {words}.rowid DESC LIMIT :limit"
    ).format(id=f"{words}.rowid")


def _sides(table: _Table, agent: str | None, party: str | None) -> list[tuple[str, str]]:
    """Return the conditions by which the agent of the filter and the caller are on either side."""
    either = ("recipient", table.sender)
    agents = ["TRUE"] if agent is None else [f"{side} = :agent" for side in either]
    parties = ["TRUE"] if party is None else [f"{side} = :party" for side in either]
    return list(product(agents, parties))


def _walk(table: str, conditions: Sequence[str]) -> str:
    where = " AND ".join(conditions).format(id="id")
    newest = f"SELECT id FROM {table} WHERE {where} ORDER BY id DESC LIMIT :limit"  # noqa: S608
    return f"SELECT * FROM ({newest})"  # noqa: S608 - in brackets, for UNION takes no LIMIT inside
