"""The reminders on disk: what is done with them within a transaction."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from services.broker.deadlines.clock import Deadline, Moment
from services.broker.deadlines.table import DeadlineTable
from services.broker.messages import rows, store
from services.broker.messages.message import Draft
from services.broker.reminders import reminder
from services.broker.reminders.reminder import Reminder, State
from wire.errors import LimitExceeded, NotFound
from wire.names import SYSTEM

TABLE: Final = DeadlineTable("reminder", State.PENDING)

BATCH_SIZE: Final = 128 * 1024
"""About how much text becomes messages in one transaction, in characters."""

_COLUMNS: Final = "id, owner, due, body, file, created, state, message"
_GET: Final = f"SELECT {_COLUMNS} FROM reminder WHERE id = ?"  # noqa: S608 - constants only
_CONDITIONS: Final = {
    "owner": "owner = :owner",
    "state": "state = :state",
    "before": "id < :before",
    "after": "id > :after",
}


@dataclass(frozen=True, slots=True)
class NewReminder:
    """A reminder that is to be stored; `created` is in microseconds since 1970."""

    owner: str
    body: str
    file: str
    created: int
    deadline: Deadline
    dedupe_key: str | None


def get(db: sqlite3.Connection, number: int) -> Reminder:
    """The reminder `number`. Raises NotFound."""
    row = db.execute(_GET, (number,)).fetchone()
    if row is None:
        raise NotFound(f"There is no reminder {number}.")
    return _reminder(row)


def known(db: sqlite3.Connection, owner: str, dedupe_key: str | None) -> int | None:
    """The reminder that `owner` has made with this key."""
    row = db.execute(
        "SELECT id FROM reminder WHERE owner = ? AND dedupe_key = ?", (owner, dedupe_key)
    ).fetchone()
    return None if row is None else int(row[0])


def add(db: sqlite3.Connection, wish: NewReminder, max_pending: int) -> int:
    """Store a reminder; returns its id.

    Raises:
        LimitExceeded: its owner has `max_pending` pending ones.
    """
    if count(db, wish.owner) >= max_pending:
        raise LimitExceeded(
            f"{wish.owner} has {max_pending} pending reminders, which is the most "
            "(max_pending_reminders in the section [broker] of hyperhive.toml). "
            "Wait until one is due, or cancel one."
        )
    inserted = db.execute(
        "INSERT INTO reminder (owner, body, file, created, due, boot, boot_due, dedupe_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            wish.owner,
            wish.body,
            wish.file,
            wish.created,
            wish.deadline.due,
            wish.deadline.boot,
            wish.deadline.boot_due,
            wish.dedupe_key,
        ),
    )
    return int(inserted.lastrowid or 0)


def deliver(db: sqlite3.Connection, *, moment: Moment) -> list[Reminder]:
    """Make messages of the first that are due at `moment`; returns them, with their messages.

    After BATCH_SIZE characters it is enough: each word goes into the index, and who sends waits.
    """
    delivered: list[Reminder] = []
    size = 0
    for number in TABLE.ids_due(db, moment):
        delivered.append(_deliver(db, get(db, number), moment))
        size += len(delivered[-1].body)
        if size >= BATCH_SIZE:
            break
    return delivered


def cancel(db: sqlite3.Connection, number: int, moment: Moment) -> None:
    """Store that a reminder was taken back."""
    db.execute(
        "UPDATE reminder SET state = ?, resolved = ? WHERE id = ?",
        (State.CANCELLED, moment.wall, number),
    )


def page(db: sqlite3.Connection, *, wanted: Mapping[str, Any], limit: int) -> list[Reminder]:
    """The newest `limit` that match, oldest first; `wanted` has keys of _CONDITIONS."""
    where = " AND ".join(["TRUE", *(_CONDITIONS[key] for key in wanted)])
    newest_first = db.execute(
        f"SELECT {_COLUMNS} FROM reminder WHERE {where} "  # noqa: S608 - constants only
        "ORDER BY id DESC LIMIT :limit",
        {**wanted, "limit": limit},
    )
    return [_reminder(row) for row in rows.bounded(newest_first, texts=(3,))][::-1]


def count(db: sqlite3.Connection, owner: str | None) -> int:
    """How many of `owner`'s are pending; None: of everybody's."""
    (found,) = db.execute(
        "SELECT count(*) FROM reminder INDEXED BY reminder_pending "
        "WHERE state = 'pending' AND (:owner IS NULL OR owner = :owner)",
        {"owner": owner},
    ).fetchone()
    return int(found)


def _deliver(db: sqlite3.Connection, pending: Reminder, moment: Moment) -> Reminder:
    draft = Draft(SYSTEM, pending.owner, reminder.KIND, reminder.words(pending))
    message = store.insert(db, draft)
    db.execute(
        "UPDATE reminder SET state = ?, message = ?, resolved = ? WHERE id = ?",
        (State.DELIVERED, message, moment.wall, pending.id),
    )
    return replace(pending, state=State.DELIVERED, message=message)


def _reminder(row: Sequence[Any]) -> Reminder:
    number, owner, due, body, file, created, state, message = row
    return Reminder(number, owner, due, body, file, created, State(state), message)
