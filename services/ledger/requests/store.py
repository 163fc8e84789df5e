"""Requests to the model API on disk. Functions that write are called within a transaction."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from services.ledger.budgets.account import Amount
from services.ledger.storage.database import Database
from services.ledger.storage.retention import agents
from services.ledger.storage.sums import Sums
from wire.records.ledger import (
    Request,
    RequestOutcome,
    UsageFilter,
    UsageKey,
    UsageSum,
    UsageSumFilter,
)

OPEN: Final = "open"
"""The outcome of a request that is under way."""

_COLUMNS: Final = (
    "id, agent, credential, model, outcome, started, ended, status, input_tokens, output_tokens, "
    "cache_read_tokens, cache_write_tokens, web_searches, cost, unknown_price, first_byte, "
    "last_byte, sent, received"
)
_SETTLED: Final = ", ".join(f"{name} = :{name}" for name in _COLUMNS.split(", ")[3:])
_SETTLE: Final = (
    f"UPDATE request SET {_SETTLED}, charged_tokens = :charged_tokens "  # noqa: S608 - columns
    "WHERE id = :id"
)

_SUMS: Final = Sums(
    "request WHERE {where}",
    keys={
        UsageKey.DAY: "date(started / 1000000, 'unixepoch', 'localtime')",
        UsageKey.AGENT: "agent",
        UsageKey.CREDENTIAL: "credential",
    },
    counts={
        "requests": "1",
        "failed": f"outcome != '{RequestOutcome.DONE}'",
    },
    figures={
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        "cache_read_tokens": "cache_read_tokens",
        "cache_write_tokens": "cache_write_tokens",
        "cost": "cost",
    },
    flags={"unknown_price": "unknown_price"},
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request that is under way, or one whose gateway died."""

    agent: str
    credential: str
    gateway: str
    """The bus and the connection of the gateway."""
    model: str
    started: int
    most: Amount
    """The most that it may cost."""
    unknown: bool
    key: str = ""
    """The gateway's own name of the request; empty for none."""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that has ended."""

    reservation: Reservation
    outcome: RequestOutcome
    ended: int
    charged: Amount


def add(db: sqlite3.Connection, one: Reservation) -> int:
    """Store a reservation; return its id."""
    cursor = db.execute(
        "INSERT INTO request (agent, credential, gateway, key, model, outcome, started, "
        "reserved, reserved_tokens, unknown_price) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.agent,
            one.credential,
            one.gateway,
            one.key,
            one.model,
            OPEN,
            one.started,
            *one.most,
            one.unknown,
        ),
    )
    return int(cursor.lastrowid or 0)


def settle(db: sqlite3.Connection, request: Request, tokens: int) -> None:
    """Store the end of a request, for which `tokens` are charged."""
    db.execute(_SETTLE, {**request._asdict(), "charged_tokens": tokens})


def insert(db: sqlite3.Connection, request: Request, tokens: int) -> int:
    """Store a request that was never reserved; return its id."""
    one = Reservation(
        request.agent,
        request.credential,
        "",
        request.model,
        request.started,
        Amount(0, 0),
        request.unknown_price,
    )
    number = add(db, one)
    settle(db, request._replace(id=number), tokens)
    return number


class RequestStore:
    """The requests, for those who read them.

    Each method raises Unavailable when the file cannot be used just now.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def under_way(self) -> list[Reservation]:
        """Return the requests under way."""
        with self._database.look() as db:
            rows = db.execute("SELECT * FROM request WHERE outcome = 'open' ORDER BY id").fetchall()
        return [_reservation(row) for row in rows]

    def ended(self, number: int) -> Ended | None:
        """Return a request that has ended; None if there is none."""
        with self._database.look() as db:
            row = db.execute("SELECT * FROM request WHERE id = ?", (number,)).fetchone()
        if row is None or row["outcome"] == OPEN:
            return None
        charged = Amount(row["cost"], row["charged_tokens"])
        return Ended(_reservation(row), RequestOutcome(row["outcome"]), row["ended"], charged)

    def latest(self) -> list[Reservation]:
        """Return the latest request of each gateway."""
        # One look-up in the index for each agent: to group all rows takes seconds at a start.
        query = "SELECT * FROM request WHERE agent = ? AND gateway != '' ORDER BY id DESC LIMIT 1"
        known = agents(self._database, "request")
        with self._database.look() as db:
            rows = [db.execute(query, (agent,)).fetchone() for agent in known]
        return [_reservation(row) for row in rows if row is not None]

    async def find(self, filter: UsageFilter, limit: int) -> list[Request]:
        """Return the newest requests that match and have ended, newest first."""
        where, values = _where(filter)
        if filter.before is not None:
            where, values = f"{where} AND id < ?", [*values, filter.before]
        # `where` is written in this file; values from outside are bound.
        query = f"SELECT {_COLUMNS} FROM request WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
        rows = await self._database.read(lambda db: db.execute(query, (*values, limit)).fetchall())
        return [_request(row) for row in rows]

    async def sums(self, filter: UsageSumFilter) -> list[UsageSum]:
        """Return the sums of the requests that match and have ended, in the order of their keys."""
        where, values = _where(filter)
        query = _SUMS.query(filter.by, where)
        rows = await self._database.read(lambda db: db.execute(query, values).fetchall())
        return [UsageSum(row["key"], **_SUMS.row(row)) for row in rows]


def _where(filter: UsageFilter | UsageSumFilter) -> tuple[str, list[str | int]]:
    """Return a condition for requests that have ended, with its values."""
    wanted: dict[str, str | int | None] = {
        "agent = ?": filter.agent,
        "credential = ?": filter.credential,
        "started >= ?": filter.since,
        "started < ?": filter.until,
    }
    given = {term: value for term, value in wanted.items() if value is not None}
    return " AND ".join([f"outcome != '{OPEN}'", *given]), list(given.values())


def _reservation(row: sqlite3.Row) -> Reservation:
    return Reservation(
        agent=row["agent"],
        credential=row["credential"],
        gateway=row["gateway"],
        model=row["model"],
        started=row["started"],
        most=Amount(row["reserved"], row["reserved_tokens"]),
        unknown=bool(row["unknown_price"]),
        key=row["key"],
        id=row["id"],
    )


def _request(row: sqlite3.Row) -> Request:
    values = dict(row)
    values["outcome"] = RequestOutcome(values["outcome"])
    values["unknown_price"] = bool(values["unknown_price"])
    return Request(**values)
