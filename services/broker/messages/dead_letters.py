"""The dead letters on disk: messages that were handed out too often without an acknowledgement."""

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from services.broker.storage.database import Database, as_list, now

_THESE = "id IN (SELECT value FROM json_each(:ids))"
_DEAD = "acknowledged IS NULL AND parked IS NOT NULL"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """The part of a message that is announced when it becomes a dead letter, or is one no more."""

    id: int
    sender: str
    recipient: str
    kind: str
    redeliveries: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The outcome of a request: the letters that it changed, and ids that are not dead letters."""

    letters: list[DeadLetter]
    unknown: list[int]


class DeadLetters:
    """The dead letters in the database.

    Every method may raise Unavailable: then nothing was changed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def park(self, ids: Collection[int]) -> list[DeadLetter]:
        """Make dead letters of these messages, except those that were acknowledged meanwhile."""
        return await self._database.write(partial(_park, ids=ids))

    async def sweep(self, tries: int) -> list[DeadLetter]:
        """Park all that was handed out `tries` times; before any message is handed out."""
        return await self._database.write(partial(_sweep, tries=tries))

    async def requeue(self, ids: Sequence[int]) -> Changed:
        """Let dead letters be handed out again, as often as a new message."""
        change = "parked = NULL, forgiven = deliveries"
        return await self._database.write(partial(_change, ids=ids, change=change))

    async def drop(self, ids: Sequence[int]) -> Changed:
        """End dead letters."""
        return await self._database.write(partial(_change, ids=ids, change="acknowledged = :now"))


def _park(db: sqlite3.Connection, *, ids: Collection[int]) -> list[DeadLetter]:
    return _update(
        db,
        "parked = :now",
        f"acknowledged IS NULL AND parked IS NULL AND {_THESE}",
        {"ids": as_list(ids), "now": now()},
    )


def _sweep(db: sqlite3.Connection, *, tries: int) -> list[DeadLetter]:
    return _update(
        db,
        "parked = :now",
        "acknowledged IS NULL AND parked IS NULL AND deliveries - forgiven >= :tries",
        {"tries": tries, "now": now()},
    )


def _change(db: sqlite3.Connection, *, ids: Sequence[int], change: str) -> Changed:
    where = f"{_DEAD} AND {_THESE}"
    changed = _update(db, change, where, {"ids": as_list(ids), "now": now()})
    return Changed(changed, sorted(set(ids) - {letter.id for letter in changed}))


def _update(
    db: sqlite3.Connection, change: str, where: str, values: dict[str, object]
) -> list[DeadLetter]:
    """Change messages, and return them, oldest first."""
    changed = db.execute(
        f"UPDATE message SET {change} WHERE {where} "  # noqa: S608 - constants only
        "RETURNING id, sender, recipient, kind, deliveries AS redeliveries",
        values,
    )
    letters = [DeadLetter(**row) for row in changed.fetchall()]
    return sorted(letters, key=lambda letter: letter.id)
