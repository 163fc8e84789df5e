"""The dead letters on disk: messages that were handed out too often without an acknowledgement."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from services.broker.messages import rows
from services.broker.messages.changes import change_of
from services.broker.storage.database import Database, as_list, now
from wire.records.broker import MessageChange, MessageState

_THESE = "id IN (SELECT value FROM json_each(:ids))"
_DEAD = "acknowledged IS NULL AND parked IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Changed:
    """The outcome of a request: the letters that it changed, and ids that are not dead letters."""

    letters: list[MessageChange]
    unknown: list[int]


class DeadLetters:
    """The dead letters in the database.

    Every method may raise Unavailable: then nothing was changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def park(self, ids: Collection[int]) -> list[MessageChange]:
        """Make dead letters of these messages, except those that were acknowledged meanwhile."""
        return await self._database.write(partial(_park, ids=ids))

    async def sweep(self, tries: int) -> list[MessageChange]:
        """Park all that was handed out `tries` times; before any message is handed out."""
        return await self._database.write(partial(_sweep, tries=tries))

    async def requeue(self, ids: Sequence[int]) -> Changed:
        """Let dead letters be handed out again, as often as a new message."""
        change = "parked = NULL, forgiven = deliveries"
        job = partial(_change, ids=ids, change=change, state=MessageState.QUEUED)
        return await self._database.write(job)

    async def drop(self, ids: Sequence[int]) -> Changed:
        """End dead letters."""
        job = partial(_change, ids=ids, change="acknowledged = :now", state=MessageState.DROPPED)
        return await self._database.write(job)


def _park(db: sqlite3.Connection, *, ids: Collection[int]) -> list[MessageChange]:
    return _update(
        db,
        "parked = :now",
        f"acknowledged IS NULL AND parked IS NULL AND {_THESE}",
        {"ids": as_list(ids), "now": now()},
        MessageState.DEAD,
    )


def _sweep(db: sqlite3.Connection, *, tries: int) -> list[MessageChange]:
    return _update(
        db,
        "parked = :now",
        "acknowledged IS NULL AND parked IS NULL AND deliveries - forgiven >= :tries",
        {"tries": tries, "now": now()},
        MessageState.DEAD,
    )


def _change(
    db: sqlite3.Connection, *, ids: Sequence[int], change: str, state: MessageState
) -> Changed:
    where = f"{_DEAD} AND {_THESE}"
    changed = _update(db, change, where, {"ids": as_list(ids), "now": now()}, state)
    return Changed(changed, sorted(set(ids) - {letter.id for letter in changed}))


def _update(
    db: sqlite3.Connection,
    change: str,
    where: str,
    values: dict[str, object],
    state: MessageState,
) -> list[MessageChange]:
    """Change messages, which are in `state` then, and return the changes, oldest first."""
    updated = db.execute(
        f"UPDATE message SET {change} WHERE {where} RETURNING id",  # noqa: S608 - constants only
        values,
    )
    ids = [row["id"] for row in updated.fetchall()]
    # `change_of` leaves the text out where the state does not need it.
    found = db.execute(
        f"SELECT {rows.COLUMNS} FROM message JOIN body USING (id) "  # noqa: S608 - constants only
        "WHERE message.id IN (SELECT value FROM json_each(?)) ORDER BY message.id",
        (as_list(ids),),
    )
    return [change_of(rows.in_state(row, state), state) for row in found]
