"""The turns on disk: one sqlite file.

A turn is a commit of its own, made on the event loop, as turns end at the pace of a language model.
Reads look at many rows, so they have a connection and a thread of their own.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from services import sqlite
from wire.errors import LimitExceeded
from wire.records.ledger import Cost, CostFilter, CostKey, Turn, TurnFilter

T = TypeVar("T")

MIGRATIONS: Final = (
    """
CREATE TABLE turn (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent TEXT NOT NULL,
    recorded INTEGER NOT NULL,
    turn INTEGER NOT NULL,             -- the harness's number
    started INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    error TEXT NOT NULL,
    model TEXT NOT NULL,
    session TEXT NOT NULL,
    first_request INTEGER NOT NULL,
    first_token INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cache_read_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    context_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,             -- millionths of a US dollar
    tool_calls INTEGER NOT NULL,
    tools TEXT NOT NULL,               -- JSON: calls by the name of the tool
    open_threads INTEGER NOT NULL,
    open_reminders INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX turn_once ON turn (agent, started, turn);
CREATE INDEX turn_agent ON turn (agent);
CREATE INDEX turn_started ON turn (started);
""",
    """
-- Calls of tools that were denied.
ALTER TABLE turn ADD COLUMN denied INTEGER NOT NULL DEFAULT 0;
""",
)

FORMAT: Final = sqlite.StoreFormat(
    "store of turns",
    "hive-ledger",
    MIGRATIONS,
    remedy="It holds only statistics of turns: move it away with its -wal and -shm files, then "
    "run: systemctl restart hive-ledger",
)

READ_SECONDS: Final = 2.0
"""The seconds after which a read is given up."""
BATCH: Final = 500
"""The most rows that one transaction deletes."""

_TICK: Final = 10_000
"""Steps of sqlite's virtual machine between two looks at the clock."""
_COLUMNS: Final = (
    "agent, turn, started, ended, outcome, error, model, session, first_request, first_token, "
    "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, context_tokens, cost, "
    "tool_calls, tools, denied, open_threads, open_reminders"
)
_INSERT: Final = (
    f"INSERT INTO turn (recorded, {_COLUMNS}) "  # noqa: S608 - names of columns
    f"VALUES (:recorded, :{_COLUMNS.replace(', ', ', :')}) ON CONFLICT DO NOTHING"
)
_AGENTS: Final = """
WITH RECURSIVE known (agent) AS (
    SELECT min(agent) FROM turn
    UNION ALL
    SELECT (SELECT min(agent) FROM turn WHERE agent > known.agent) FROM known
    WHERE known.agent IS NOT NULL
)
SELECT agent FROM known WHERE agent IS NOT NULL
"""
"""Each step is a look-up in the index, where DISTINCT would walk all of it."""
_KEYS: Final = {
    CostKey.DAY: "date(started / 1000000, 'unixepoch', 'localtime')",
    CostKey.MODEL: "model",
    CostKey.AGENT: "agent",
}


class Store:
    """The file. When a method that writes returns, its change is on the disk.

    Each method raises Unavailable, with nothing written, when the file cannot be used just now.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            CorruptStore: the file cannot be used.
        """
        self._path = path
        self._db = sqlite.open_store(path, FORMAT)
        self._reader = sqlite.open_reader(path, threads=True)
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-reader")

    def close(self) -> None:
        """Finish the reads and close the file."""
        self._reading.shutdown()
        self._reader.close()
        self._db.close()

    def add(self, agent: str, turn: Turn, recorded: int) -> int:
        """Add a turn of `agent`; return its id, or 0 if it is there already."""
        values: dict[str, str | int] = {**turn._asdict(), "agent": agent, "recorded": recorded}
        values["tools"] = json.dumps(turn.tools, sort_keys=True)
        with self._checked(), sqlite.transaction(self._db):
            cursor = self._db.execute(_INSERT, values)
        return int(cursor.lastrowid or 0) if cursor.rowcount else 0

    def recorded_before(self, agent: str, turns: int) -> int:
        """Return when the agent recorded the turn that is `turns` turns back; 0 for none."""
        with self._checked():
            row = self._db.execute(
                "SELECT recorded FROM turn WHERE agent = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                (agent, turns - 1),
            ).fetchone()
        return int(row["recorded"]) if row else 0

    def has(self, agent: str, turn: Turn) -> bool:
        """Return whether a turn is there."""
        with self._checked():
            row = self._db.execute(
                "SELECT id FROM turn WHERE agent = ? AND started = ? AND turn = ?",
                (agent, turn.started, turn.turn),
            ).fetchone()
        return row is not None

    async def find(self, filter: TurnFilter, limit: int) -> list[Turn]:
        """Return the newest turns that match, newest first."""
        where, values = _where(filter.agent, filter.since, filter.until)
        if filter.before is not None:
            where, values = f"{where} AND id < ?", [*values, filter.before]
        # `where` is written in this file; values from outside are bound.
        query = f"SELECT id, {_COLUMNS} FROM turn WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
        rows = await self._read(lambda db: db.execute(query, (*values, limit)).fetchall())
        return [_turn(row) for row in rows]

    async def costs(self, filter: CostFilter) -> list[Cost]:
        """Return the sums of the turns that match, in the order of their keys."""
        where, values = _where(filter.agent, filter.since, filter.until)
        query = (
            f"SELECT {_KEYS[filter.by]} AS key, count(*) AS turns, "  # noqa: S608
            "sum(ended - started) AS duration, sum(input_tokens) AS input_tokens, "
            "sum(output_tokens) AS output_tokens, sum(cache_read_tokens) AS cache_read_tokens, "
            "sum(cache_write_tokens) AS cache_write_tokens, sum(cost) AS cost "
            f"FROM turn WHERE {where} GROUP BY 1 ORDER BY 1"
        )
        rows = await self._read(lambda db: db.execute(query, values).fetchall())
        return [Cost(**dict(row)) for row in rows]

    def agents(self) -> list[str]:
        """Return the agents that have turns."""
        with self._checked():
            rows = self._db.execute(_AGENTS).fetchall()
        return [row["agent"] for row in rows]

    def delete_before(self, cutoff: int) -> int:
        """Delete some of the turns that started before `cutoff`; return how many, 0 for none."""
        return self._delete("started < ?", (cutoff,))

    def delete_excess(self, agent: str, most: int) -> int:
        """Delete some of the turns of an agent beyond its newest `most`; return how many."""
        last = "SELECT id FROM turn WHERE agent = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
        return self._delete(f"agent = ? AND id <= ({last})", (agent, agent, most))

    def _delete(self, where: str, values: tuple[str | int, ...]) -> int:
        query = f"DELETE FROM turn WHERE id IN (SELECT id FROM turn WHERE {where} LIMIT ?)"  # noqa: S608
        with self._checked(), sqlite.transaction(self._db):
            return self._db.execute(query, (*values, BATCH)).rowcount

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise FORMAT.unavailable(self._path, error) from error

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Do `query` in the thread that reads.

        Raises:
            LimitExceeded: it took longer than READ_SECONDS.
            Unavailable: the file could not be read.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reading, partial(self._limited, query))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise LimitExceeded(
                    f"The ledger has too many turns to sum up within {READ_SECONDS:g} s. Give an "
                    "agent, or a shorter time."
                ) from None
            raise FORMAT.unavailable(self._path, error) from error

    def _limited(self, query: Callable[[sqlite3.Connection], T]) -> T:
        until = time.monotonic() + READ_SECONDS
        self._reader.set_progress_handler(lambda: time.monotonic() > until, _TICK)
        return query(self._reader)


def _where(agent: str | None, since: int | None, until: int | None) -> tuple[str, list[str | int]]:
    """Return a condition for turns, with its values."""
    wanted = {"agent = ?": agent, "started >= ?": since, "started < ?": until}
    given = {term: value for term, value in wanted.items() if value is not None}
    return " AND ".join(given) or "true", list(given.values())


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(**{**dict(row), "tools": json.loads(row["tools"])})
