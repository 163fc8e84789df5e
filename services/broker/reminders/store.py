"""The reminders on disk. All functions are called within a transaction."""

import sqlite3
from typing import Final, NamedTuple

from services.broker.deadlines.clock import Moment
from services.broker.deadlines.table import DeadlineTable
from services.broker.messages import insertion, rows
from services.broker.messages.message import Draft
from services.broker.reminders.reminder import KIND, NewReminder, message_text
from services.broker.storage.database import LAST_ID
from wire.errors import LimitExceeded, NotFound
from wire.names import SYSTEM
from wire.records.broker import MessageChange, Reminder, ReminderFilter, ReminderState

TABLE: Final = DeadlineTable("reminder", ReminderState.PENDING)

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


def get(db: sqlite3.Connection, number: int) -> Reminder:
    """Return the reminder `number`.

    Raises:
        NotFound: there is none.
    """
    row = db.execute(_GET, (number,)).fetchone()
    if row is None:
        raise NotFound(f"There is no reminder {number}; ListReminders shows them.")
    return _reminder(row)


def known(db: sqlite3.Connection, owner: str, dedupe_key: str | None) -> int | None:
    """Return the id of the reminder that `owner` has made with this key, if any."""
    row = db.execute(
        "SELECT id FROM reminder WHERE owner = ? AND dedupe_key = ?", (owner, dedupe_key)
    ).fetchone()
    return None if row is None else int(row["id"])


def add(db: sqlite3.Connection, new: NewReminder, max_pending: int) -> int:
    """Store a reminder; return its id.

    Raises:
        LimitExceeded: its owner has `max_pending` pending ones.
    """
    if count(db, new.owner) >= max_pending:
        raise LimitExceeded(
            f"{new.owner} has {max_pending} pending reminders, which is the maximum "
            "(max_pending_reminders in the section [broker] of hyperhive.toml). "
            "Wait until one is due, or cancel one."
        )
    inserted = db.execute(
        "INSERT INTO reminder (owner, body, file, created, due, boot, boot_due, dedupe_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.owner,
            new.body,
            new.file,
            new.created,
            new.deadline.due,
            new.deadline.boot,
            new.deadline.boot_due,
            new.dedupe_key,
        ),
    )
    return int(inserted.lastrowid or 0)


class Delivered(NamedTuple):
    """A reminder that became a message."""

    reminder: Reminder
    message: MessageChange


def deliver(db: sqlite3.Connection, *, moment: Moment) -> list[Delivered]:
    """Make messages of the first reminders that are due at `moment`; return both.

    It stops after BATCH_SIZE characters: each word goes into the index, and all writers wait.
    """
    delivered: list[Delivered] = []
    size = 0
    for number in TABLE.ids_due(db, moment):
        delivered.append(_deliver(db, get(db, number), moment))
        size += len(delivered[-1].reminder.body)
        if size >= BATCH_SIZE:
            break
    return delivered


def cancel(db: sqlite3.Connection, number: int, moment: Moment) -> None:
    """Store that a reminder was cancelled."""
    db.execute(
        "UPDATE reminder SET state = ?, resolved = ? WHERE id = ?",
        (ReminderState.CANCELLED, moment.wall, number),
    )


def page(db: sqlite3.Connection, *, wanted: ReminderFilter, limit: int) -> list[Reminder]:
    """Return the newest `limit` reminders that match, oldest first."""
    given = {key: value for key, value in wanted._asdict().items() if value is not None}
    # No id is greater than sqlite's integers.
    given |= {bound: min(given[bound], LAST_ID) for bound in ("before", "after") if bound in given}
    where = " AND ".join(["TRUE", *(_CONDITIONS[key] for key in given)])
    newest_first = db.execute(
        f"SELECT {_COLUMNS} FROM reminder WHERE {where} "  # noqa: S608 - constants only
        "ORDER BY id DESC LIMIT :limit",
        {**given, "limit": limit},
    )
    return [_reminder(row) for row in rows.bounded(newest_first, texts=("body",))][::-1]


def count(db: sqlite3.Connection, owner: str | None) -> int:
    """Return how many reminders of `owner` are pending; of everybody for None."""
    row = db.execute(
        "SELECT count(*) AS pending FROM reminder INDEXED BY reminder_pending "
        "WHERE state = 'pending' AND (:owner IS NULL OR owner = :owner)",
        {"owner": owner},
    ).fetchone()
    return int(row["pending"])


def _deliver(db: sqlite3.Connection, pending: Reminder, moment: Moment) -> Delivered:
    draft = Draft(SYSTEM, pending.owner, KIND, message_text(pending), cause=pending.owner)
    change = insertion.insert(db, draft)
    db.execute(
        "UPDATE reminder SET state = ?, message = ?, resolved = ? WHERE id = ?",
        (ReminderState.DELIVERED, change.id, moment.wall, pending.id),
    )
    done = pending._replace(state=ReminderState.DELIVERED, message=change.id)
    return Delivered(done, change)


def _reminder(row: sqlite3.Row) -> Reminder:
    return Reminder(
        id=row["id"],
        owner=row["owner"],
        due=row["due"],
        body=row["body"],
        file=row["file"],
        created=row["created"],
        state=ReminderState(row["state"]),
        message=row["message"],
    )
