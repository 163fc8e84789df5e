"""The messages about budgets to the manager and the operator, until the broker has taken them."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from services.deliverer import Deliverer
from services.ledger.storage.database import Database
from wire.names import MANAGER, OPERATOR

WARNING: Final = "budget-warning"
EXHAUSTED: Final = "budget-exhausted"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message."""

    recipient: str
    kind: str
    body: str
    id: int = 0

    @property
    def dedupe_key(self) -> str:
        """The key by which the broker drops a repetition."""
        return f"budget-{self.id}"


def to_both(kind: str, text: str) -> list[Notice]:
    """Return the notices to the manager and the operator."""
    return [Notice(recipient, kind, text) for recipient in (MANAGER, OPERATOR)]


def save(db: sqlite3.Connection, notices: Iterable[Notice]) -> None:
    """Store notices, within a transaction."""
    db.executemany(
        "INSERT INTO notice (recipient, kind, body) VALUES (?, ?, ?)",
        [(one.recipient, one.kind, one.body) for one in notices],
    )


class Broker(Protocol):
    """The part of the broker that takes messages."""

    async def send(self, notice: Notice) -> None:
        """Send a message; the same one twice is delivered once."""


class Notices:
    """The notices that are not delivered yet."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        # Without a manager there is nobody to notify: the notice is dropped.
        self.deliverer: Final = Deliverer(
            self._owed, self._delivered, broker.send, drop_unknown=True
        )

    def _owed(self) -> list[Notice]:
        with self._database.look() as db:
            rows = db.execute("SELECT recipient, kind, body, id FROM notice ORDER BY id").fetchall()
        return [Notice(**dict(row)) for row in rows]

    def _delivered(self, notice: Notice) -> None:
        with self._database.write() as db:
            db.execute("DELETE FROM notice WHERE id = ?", (notice.id,))
