"""The hosts that agents used, on disk: a row for each agent, host and port."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from services.ledger.budgets import notices
from services.ledger.budgets.notices import Notice
from services.ledger.storage.database import BATCH, Database
from wire.records.ledger import Egress, EgressFilter, EgressState

REST: Final = "*"
"""The host, with the port 0, of the row that has the sums of an agent's rows that were too many."""

_COLUMNS: Final = Egress._fields
_SAVE: Final = (
    f"INSERT OR REPLACE INTO egress ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of columns
    f"VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"
)


class EgressStore:
    """The rows. Each method raises Unavailable when the file cannot be used just now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, agent: str, host: str, port: int) -> Egress | None:
        """Return the row of an agent, a host and a port."""
        with self._database.look() as db:
            row = db.execute(
                "SELECT * FROM egress WHERE agent = ? AND host = ? AND port = ?",
                (agent, host, port),
            ).fetchone()
        return None if row is None else _egress(row)

    def save(
        self,
        entries: Sequence[Egress],
        *,
        durable: bool,
        forget: Egress | None = None,
        told: Sequence[Notice] = (),
    ) -> None:
        """Store rows and messages to be delivered, and delete the row to forget.

        With `durable` all that is on the disk when it returns.
        """
        writing = self._database.write() if durable else self._database.write_quickly()
        with writing as db:
            if forget is not None:
                db.execute(
                    "DELETE FROM egress WHERE agent = ? AND host = ? AND port = ?", forget[:3]
                )
            db.executemany(_SAVE, [entry._asdict() for entry in entries])
            notices.save(db, told)

    def count(self, agent: str, *, pending: bool = False) -> int:
        """Return how many rows of an agent there are, or how many of them are pending."""
        state = f" AND state = '{EgressState.PENDING}'" if pending else ""
        with self._database.look() as db:
            row = db.execute(
                f"SELECT count(*) AS count FROM egress WHERE agent = ?{state}",  # noqa: S608
                (agent,),
            ).fetchone()
        return int(row["count"])

    def least(self, agent: str) -> Egress:
        """Return the row of an agent that is of least use to the operator.

        First are those without a decision or a request over which nothing was passed on, the ones
        used last longest ago; then those over which least was. What waits for the operator, and
        what the operator has decided, is last.
        """
        with self._database.look() as db:
            row = db.execute(
                "SELECT * FROM egress WHERE agent = ? AND host != ? ORDER BY "
                "state NOT IN ('none', 'allowed'), state = 'denied', allowed > 0, "
                "sent + received, last LIMIT 1",
                (agent, REST),
            ).fetchone()
        return _egress(row)

    def least_pending(self, agent: str) -> Egress | None:
        """Return the refusal of an agent for which the agent gave no reason, and that was repeated
        last longest ago; None if there is none."""
        with self._database.look() as db:
            row = db.execute(
                "SELECT * FROM egress WHERE agent = ? AND state = 'pending' AND reason = '' "
                "ORDER BY last LIMIT 1",
                (agent,),
            ).fetchone()
        return None if row is None else _egress(row)

    def forget(self, agent: str) -> list[Egress]:
        """Delete the rows of an agent; return them."""
        with self._database.write() as db:
            rows = db.execute("DELETE FROM egress WHERE agent = ? RETURNING *", (agent,)).fetchall()
        return [_egress(row) for row in rows]

    def undecided(self, agent: str) -> list[Egress]:
        """Return the rows of an agent that the operator has not decided by a rule."""
        with self._database.look() as db:
            rows = db.execute(
                "SELECT * FROM egress WHERE agent = ? AND state IN ('pending', 'once', 'denied')",
                (agent,),
            ).fetchall()
        return [_egress(row) for row in rows]

    async def find(self, filter: EgressFilter, limit: int) -> list[Egress]:
        """Return the rows that match, the ones used last first.

        If they are too many, each agent has as many as another one that has more of them.
        """
        wanted = {
            "agent = ?": filter.agent,
            "state = ?": filter.state,
            "last >= ?": filter.since,
        }
        given = {term: value for term, value in wanted.items() if value is not None}
        where = " AND ".join(given) or "true"
        place = "row_number() OVER (PARTITION BY agent ORDER BY last DESC, host, port)"
        query = (
            f"SELECT * FROM (SELECT *, {place} AS place FROM egress WHERE {where} "  # noqa: S608
            "ORDER BY place, last DESC LIMIT ?) ORDER BY last DESC, host, port"
        )
        values = (*given.values(), limit)
        rows = await self._database.read(lambda db: db.execute(query, values).fetchall())
        return [_egress(row) for row in rows]

    def delete_before(self, cutoff: int) -> int:
        """Delete some of the rows that were used last before `cutoff`; return how many."""
        with self._database.write() as db:
            return db.execute(
                "DELETE FROM egress WHERE (agent, host, port) IN "
                "(SELECT agent, host, port FROM egress WHERE last < ? LIMIT ?)",
                (cutoff, BATCH),
            ).rowcount


def _egress(row: sqlite3.Row) -> Egress:
    values = {name: row[name] for name in _COLUMNS}
    return Egress(**{**values, "state": EgressState(row["state"])})
