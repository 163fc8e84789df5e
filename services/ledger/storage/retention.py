"""The deletion of old rows of tables that have `id`, `agent` and `started`, some at a time."""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from services.ledger.storage.database import BATCH, Database

Table = Literal["turn", "request"]

_AGENTS: Final = """
WITH RECURSIVE known (agent) AS (
    SELECT min(agent) FROM {table}
    UNION ALL
    SELECT (SELECT min(agent) FROM {table} WHERE agent > known.agent) FROM known
    WHERE known.agent IS NOT NULL
)
SELECT agent FROM known WHERE agent IS NOT NULL
"""
"""Each step is a look-up in the index, where DISTINCT would walk all of it."""


async def delete_old(
    database: Database, table: Table, *, before: int, most: int, done: str = "true"
) -> int:
    """Delete rows that are too old or too many; return how many.

    Args:
        database: the file.
        table: the table.
        before: rows that started before this time are deleted.
        most: the rows of an agent that stay.
        done: the condition of rows that may be deleted.

    Raises:
        Unavailable: the store could not be written; some rows may be gone.
    """
    gone = await _repeated(lambda: _delete(database, table, f"started < ? AND {done}", (before,)))
    for agent in agents(database, table):
        last = f"SELECT id FROM {table} WHERE agent = ? ORDER BY id DESC LIMIT 1 OFFSET ?"  # noqa: S608
        where = f"agent = ? AND id <= ({last}) AND {done}"
        values = (agent, agent, most)
        gone += await _repeated(
            lambda where=where, values=values: _delete(  # type: ignore[misc]
                database, table, where, values
            )
        )
    return gone


def agents(database: Database, table: Table) -> list[str]:
    """Return the agents that have rows."""
    with database.look() as db:
        rows = db.execute(_AGENTS.format(table=table)).fetchall()
    return [row["agent"] for row in rows]


def _delete(database: Database, table: Table, where: str, values: tuple[str | int, ...]) -> int:
    query = f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {where} LIMIT ?)"  # noqa: S608
    with database.write() as db:
        return db.execute(query, (*values, BATCH)).rowcount


async def _repeated(delete: Callable[[], int]) -> int:
    """Call `delete` until it deletes nothing, and let others work in between."""
    gone = 0
    while deleted := delete():
        gone += deleted
        # Calls that came meanwhile are answered before the next rows are deleted.
        await asyncio.sleep(0)
    return gone
