"""The dead letters on disk: messages that were handed out too often without an acknowledgement."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from services.broker.messages import rows
from services.broker.messages.changes import change_of
from services.broker.messages.dead_letter_notices import notices
from services.broker.messages.insertion import insert
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
        """Make dead letters of these messages, except those that were acknowledged meanwhile.

        Their senders and the operator get messages about it, which are among the changes.
        """
        return await self._database.write(partial(_park, ids=ids))

    async def park_worn_out(
        self, recipient: str, tries: int, without: Collection[int]
    ) -> list[MessageChange]:
        """Park all messages to `recipient` that were handed out `tries` times; see `park`.

        Args:
            recipient: an agent.
            tries: how often messages to it are handed out.
            without: ids of messages that are leased.
        """
        job = partial(_park_worn_out, recipient=recipient, tries=tries, without=frozenset(without))
        return await self._database.write(job)

    async def sweep(self, tries: int) -> list[MessageChange]:
        """Park all that was handed out too often; before any message is handed out. See `park`.

        Args:
            tries: how often a message is handed out, unless its recipient has a number of its own.
        """
        return await self._database.write(partial(_sweep, tries=tries))

    async def requeue(self, ids: Sequence[int]) -> Changed:
        """Let dead letters be handed out again, as often as a new message."""
        change = "parked = NULL, forgiven = deliveries, uncounted = 0"
        job = partial(_change, ids=ids, change=change, state=MessageState.QUEUED)
        return await self._database.write(job)

    async def drop(self, ids: Sequence[int]) -> Changed:
        """End dead letters."""
        job = partial(_change, ids=ids, change="acknowledged = :now", state=MessageState.DROPPED)
        return await self._database.write(job)


def _park(db: sqlite3.Connection, *, ids: Collection[int]) -> list[MessageChange]:
    return _kill(db, _THESE, {"ids": as_list(ids)})


def _park_worn_out(
    db: sqlite3.Connection, *, recipient: str, tries: int, without: Collection[int]
) -> list[MessageChange]:
    where = f"recipient = :recipient AND deliveries - forgiven >= :tries AND NOT {_THESE}"
    values = {"recipient": recipient, "tries": tries, "ids": as_list(without)}
    return _kill(db, where, values)


def _sweep(db: sqlite3.Connection, *, tries: int) -> list[MessageChange]:
    most = (
        "coalesce((SELECT max_redeliveries + 1 FROM agent WHERE name = message.recipient), :tries)"
    )
    return _kill(db, f"deliveries - forgiven >= {most}", {"tries": tries})


def _kill(db: sqlite3.Connection, where: str, values: Mapping[str, object]) -> list[MessageChange]:
    """Park queued messages, and tell their senders and the operator."""
    waiting = f"acknowledged IS NULL AND parked IS NULL AND {where}"
    letters = _update(db, "parked = :now", waiting, {**values, "now": now()}, MessageState.DEAD)
    return [*letters, *(insert(db, notice) for notice in notices(letters))]


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
