"""Retention: delete old rows, a few at a time, so that senders wait only briefly meanwhile."""

import sqlite3
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from services.broker.storage.database import Database, as_list
from services.broker.storage.time_range import ids_in_range

BATCH: Final = 32
"""The most rows that one transaction deletes: that takes a millisecond or two."""
BATCH_BYTES: Final = 128 * 1024
"""About how many bytes of text one transaction deletes: each word is looked up in the index."""
_LOOK: Final = 1024
"""The number of ids that the reading thread finds at a time."""


async def delete(database: Database, cutoff: int) -> int:
    """Delete rows that were finished before `cutoff` (microseconds since 1970); return how many.

    These are messages that were acknowledged or dropped by then, questions that were resolved, and
    reminders that were delivered or cancelled. Everything else stays, however old it is.

    Raises:
        Unavailable: the store could not be written; some rows may be gone.
    """
    deleted = 0
    for find, remove in (
        (old_messages, remove_messages),
        (_old_questions, _remove_questions),
        (_old_reminders, _remove_reminders),
    ):
        last = 0
        while ids := await database.read(partial(find, after=last, cutoff=cutoff)):
            last = ids[-1]
            deleted += await _delete(database, remove, ids)
    return deleted


_Remove = Callable[[sqlite3.Connection, list[int]], int]
"""Removes the first few of the rows with these ids; returns how many, at least one."""


async def _delete(database: Database, remove: _Remove, ids: list[int]) -> int:
    """Delete the rows with these ids, which nobody else deletes; finished rows stay finished."""
    gone = 0
    while gone < len(ids):
        removed = await database.write(partial(_call, remove, ids[gone : gone + BATCH]))
        if not removed:
            break  # The rows are gone, although they were found: do not try forever.
        gone += removed
    return gone


def _call(remove: _Remove, ids: list[int], db: sqlite3.Connection) -> int:
    return remove(db, ids)


def old_messages(db: sqlite3.Connection, *, after: int, cutoff: int) -> list[int]:
    """Return ids after `after` of messages that were done before `cutoff`, at most _LOOK."""
    # No message is done before it is sent, so newer ones are not looked at.
    _, end = ids_in_range(db, None, cutoff)
    found = db.execute(
        "SELECT id FROM message WHERE id > ? AND id < ? AND acknowledged < ? ORDER BY id LIMIT ?",
        (after, end, cutoff, _LOOK),
    )
    return [row["id"] for row in found]


def remove_messages(db: sqlite3.Connection, ids: list[int]) -> int:
    """Remove the first few of the messages with these ids; return how many."""
    texts = db.execute(
        "SELECT id, text FROM body WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (as_list(ids),),
    )
    rows = _some(texts)
    db.executemany(
        "INSERT INTO message_search (message_search, rowid, text) VALUES ('delete', ?, ?)", rows
    )
    for table in ("body", "message"):
        _remove(db, table, [row["id"] for row in rows])
    return len(rows)


def _old_questions(db: sqlite3.Connection, *, after: int, cutoff: int) -> list[int]:
    found = db.execute(
        "SELECT id FROM question WHERE id > ? AND state <> 'open' AND resolved < ? "
        "ORDER BY id LIMIT ?",
        (after, cutoff, _LOOK),
    )
    return [row["id"] for row in found]


def _remove_questions(db: sqlite3.Connection, ids: list[int]) -> int:
    texts = db.execute(
        "SELECT id, text, answer FROM question "
        "WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        (as_list(ids),),
    )
    rows = _some(texts)
    db.executemany(
        "INSERT INTO question_search (question_search, rowid, text, answer) "
        "VALUES ('delete', ?, ?, ?)",
        rows,
    )
    _remove(db, "question", [row["id"] for row in rows])
    return len(rows)


def _old_reminders(db: sqlite3.Connection, *, after: int, cutoff: int) -> list[int]:
    found = db.execute(
        "SELECT id FROM reminder WHERE id > ? AND state <> 'pending' AND resolved < ? "
        "ORDER BY id LIMIT ?",
        (after, cutoff, _LOOK),
    )
    return [row["id"] for row in found]


def _remove_reminders(db: sqlite3.Connection, ids: list[int]) -> int:
    _remove(db, "reminder", ids)
    return len(ids)


def _some(texts: sqlite3.Cursor) -> list[sqlite3.Row]:
    """Return the first rows, until their texts are about BATCH_BYTES; at least one."""
    rows: list[sqlite3.Row] = []
    size = 0
    for row in texts:
        rows.append(row)
        _id, *columns = row
        size += sum(len(text) for text in columns)
        if size >= BATCH_BYTES:
            break
    texts.close()
    return rows


def _remove(db: sqlite3.Connection, table: str, ids: Collection[int]) -> None:
    db.execute(
        f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
        (as_list(ids),),
    )
