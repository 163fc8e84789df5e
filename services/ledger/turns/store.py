"""The turns on disk. A turn is a commit of its own."""

import json
import sqlite3
from typing import Final

from services.ledger.storage.database import Change, Database
from services.ledger.storage.sums import Sums
from wire.records.ledger import Cost, CostFilter, CostKey, Turn, TurnFilter

_COLUMNS: Final = (
    "agent, turn, started, ended, outcome, error, model, session, first_request, first_token, "
    "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, context_tokens, cost, "
    "tool_calls, tools, denied, open_threads, open_reminders"
)
_INSERT: Final = (
    f"INSERT INTO turn (recorded, {_COLUMNS}) "  # noqa: S608 - names of columns
    f"VALUES (:recorded, :{_COLUMNS.replace(', ', ', :')}) ON CONFLICT DO NOTHING"
)
_SUMS: Final = Sums(
    "(SELECT agent, model, started, 1 AS turns, ended - started AS duration, 0 AS input_tokens, "
    "0 AS output_tokens, 0 AS cache_read_tokens, 0 AS cache_write_tokens, 0 AS cost, "
    "0 AS unknown_price FROM turn WHERE {where} "
    "UNION ALL SELECT agent, model, started, 0, 0, "
    "input_tokens + cache_read_tokens + cache_write_tokens, "
    "output_tokens, cache_read_tokens, cache_write_tokens, cost, unknown_price "
    "FROM request WHERE outcome != 'open' AND {where})",
    keys={
        CostKey.DAY: "date(started / 1000000, 'unixepoch', 'localtime')",
        CostKey.AGENT: "agent",
    },
    counts={"turns": "turns"},
    figures={
        "duration": "duration",
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "cache_read_tokens": "cache_read_tokens",
        "cache_write_tokens": "cache_write_tokens",
        "cost": "cost",
    },
    flags={"unknown_price": "unknown_price"},
)


class TurnStore:
    """The turns. What is written outlives the process, and the host once `synced` has returned.

    Each method raises Unavailable, with nothing written, when the file cannot be used just now.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, agent: str, turn: Turn, recorded: int, also: Change | None = None) -> int:
        """Add a turn of `agent`, and save `also` with it; return its id, or 0 if it is there
        already."""
        values: dict[str, str | int] = {**turn._asdict(), "agent": agent, "recorded": recorded}
        values["tools"] = json.dumps(turn.tools, sort_keys=True)
        with self._database.write_quickly() as db:
            cursor = db.execute(_INSERT, values)
            if cursor.rowcount and also is not None:
                also.save(db)
        return int(cursor.lastrowid or 0) if cursor.rowcount else 0

    async def synced(self) -> None:
        """Wait until the turns are on the disk."""
        await self._database.synced()

    def recorded_before(self, agent: str, turns: int) -> int:
        """Return when the agent recorded the turn that is `turns` turns back; 0 for none."""
        with self._database.look() as db:
            row = db.execute(
                "SELECT recorded FROM turn WHERE agent = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                (agent, turns - 1),
            ).fetchone()
        return int(row["recorded"]) if row else 0

    def has(self, agent: str, turn: Turn) -> bool:
        """Return whether a turn is there."""
        with self._database.look() as db:
            row = db.execute(
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
        rows = await self._database.read(lambda db: db.execute(query, (*values, limit)).fetchall())
        return [_turn(row) for row in rows]

    async def costs(self, filter: CostFilter) -> list[Cost]:
        """Return the sums of the turns and requests that match, in the order of their keys.

        Turns are counted; tokens and costs are those of the requests.
        """
        where, values = _where(filter.agent, filter.since, filter.until)
        query = _SUMS.query(filter.by, where)
        rows = await self._database.read(lambda db: db.execute(query, values * 2).fetchall())
        return [Cost(row["key"], **_SUMS.row(row)) for row in rows]


def _where(agent: str | None, since: int | None, until: int | None) -> tuple[str, list[str | int]]:
    """Return a condition for turns, with its values."""
    wanted = {"agent = ?": agent, "started >= ?": since, "started < ?": until}
    given = {term: value for term, value in wanted.items() if value is not None}
    return " AND ".join(given) or "true", list(given.values())


def _turn(row: sqlite3.Row) -> Turn:
    return Turn(**{**dict(row), "tools": json.loads(row["tools"])})
