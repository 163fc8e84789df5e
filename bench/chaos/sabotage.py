"""Faults of a broker, to see that the chaos catches them. Most are a word in its SQL."""

import random
import sqlite3
from typing import Any, Final

FAULTS: Final[dict[str, tuple[str, str]]] = {
    "forget-count": ("deliveries = deliveries + 1", "deliveries = deliveries + 0"),
    "forget-acknowledge": ("SET acknowledged = ?", "SET acknowledged = (NULL AND ?)"),
    "forget-lease": ("AND message.id NOT IN", "AND '0' NOT IN"),
    "forget-key": (
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        "VALUES (?, ?, ?, ?, ?, ?, substr(?, 1, 0) || hex(randomblob(8)))",
    ),
    "mangle-text": ("INSERT INTO body VALUES (?, ?)", "INSERT INTO body VALUES (?, ? || '!')"),
    "newest-first": ("ORDER BY message.id LIMIT", "ORDER BY message.id DESC LIMIT"),
    "lose-commits": ("COMMIT", "ROLLBACK"),
}
"""Replacements in its SQL statements; `lose-commits` applies to one in ten."""

KEEP_LEASES: Final = "keep-leases"
"""A connection that leaves the bus keeps its leases."""

NAMES: Final = (*FAULTS, KEEP_LEASES)


def break_broker(fault: str) -> None:
    """Give the broker that this process is about to run a fault."""
    if fault == KEEP_LEASES:
        from services.broker.messages.inboxes import Inboxes

        Inboxes.holder_left = lambda self, holder: None  # type: ignore[method-assign]
    else:
        _rewrite(*FAULTS[fault], chance=0.1 if fault == "lose-commits" else 1.0)


def _rewrite(old: str, new: str, chance: float) -> None:
    connect = sqlite3.connect

    class Faulty(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if random.random() < chance:
                sql = sql.replace(old, new)
            return super().execute(sql, *parameters)

    def faulty(*arguments: Any, **options: Any) -> Any:
        return connect(*arguments, **{**options, "factory": Faulty})

    sqlite3.connect = faulty
