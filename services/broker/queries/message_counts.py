"""The number of messages in each inbox that are not done."""

import json
import sqlite3
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from services.broker.storage.database import Database
from wire.records.broker import MessageCount, MessageState

# Each walks an index of the messages that are not done: the history may have a million others.
_WAITING: Final = """
    SELECT recipient, count(*) AS count FROM message INDEXED BY message_inbox
    WHERE acknowledged IS NULL AND parked IS NULL GROUP BY recipient
"""
_DEAD: Final = """
    SELECT recipient, count(*) AS count FROM message INDEXED BY message_dead
    WHERE acknowledged IS NULL AND parked IS NOT NULL GROUP BY recipient
"""
_LEASED: Final = """
    SELECT recipient, count(*) AS count FROM message
    WHERE id IN (SELECT value FROM json_each(?)) AND acknowledged IS NULL AND parked IS NULL
    GROUP BY recipient
"""


class MessageCounts:
    """The depths of the inboxes."""

    def __init__(self, database: Database, leased: Callable[[], Collection[int]]) -> None:
        """`leased` returns the ids of the messages that are leased now."""
        self._database = database
        self._leased = leased

    async def all(self) -> list[MessageCount]:
        """Return how many messages are queued, leased or dead in each inbox.

        Where there are none, no count is returned.

        Raises:
            Unavailable: the store could not be read.
        """
        return await self._database.read(partial(_counted, leased=json.dumps([*self._leased()])))


def _counted(db: sqlite3.Connection, *, leased: str) -> list[MessageCount]:
    def found(query: str, *values: str) -> dict[str, int]:
        return {row["recipient"]: row["count"] for row in db.execute(query, values)}

    waiting, held, dead = found(_WAITING), found(_LEASED, leased), found(_DEAD)
    counts: list[MessageCount] = []
    for name in sorted({*waiting, *dead}):
        queued = waiting.get(name, 0) - held.get(name, 0)
        states = (
            (MessageState.QUEUED, queued),
            (MessageState.LEASED, held.get(name, 0)),
            (MessageState.DEAD, dead.get(name, 0)),
        )
        counts += [MessageCount(name, state, count) for state, count in states if count]
    return counts
