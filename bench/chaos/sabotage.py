"""A broker with a fault, to see that the chaos catches it: `python -m bench.chaos.sabotage FAULT`.

Runs as hive-broker.service in the place of the real one. Most faults are a word in its SQL.
"""

import random
import runpy
import sqlite3
import sys
from functools import partial
from typing import Any, Final

FAULTS: Final[dict[str, tuple[str, str]]] = {
    "forget-count": ("deliveries = deliveries + 1", "deliveries = deliveries + 0"),
    "forget-acknowledge": ("SET acknowledged = ?", "SET acknowledged = (NULL AND ?)"),
    "forget-lease": ("AND message.id NOT IN", "AND '0' NOT IN"),
    "forget-key": (
        ":in_reply_to, :dedupe_key, ",
        ":in_reply_to, substr(:dedupe_key, 1, 0) || hex(randomblob(8)), ",
    ),
    "mangle-text": ("INSERT INTO body VALUES (?, ?)", "INSERT INTO body VALUES (?, ? || '!')"),
    "newest-first": ("round, urgent DESC, message.id", "round DESC, message.id DESC"),
    "lose-commits": ("COMMIT", "ROLLBACK"),
}
"""Replacements in its SQL statements; `lose-commits` applies to one in ten."""

KEEP_LEASES: Final = "keep-leases"
"""A connection that leaves the bus keeps its leases."""

NAMES: Final = (*FAULTS, KEEP_LEASES)


def main(fault: str) -> None:
    """Run as the broker."""
    if fault == KEEP_LEASES:
        from services.broker.messages.inboxes import Inboxes

        Inboxes.holder_left = lambda self, holder: None  # type: ignore[method-assign]
    else:
        _rewrite(*FAULTS[fault], chance=0.1 if fault == "lose-commits" else 1.0)
    runpy.run_module("services.broker", run_name="__main__")


def _rewrite(old: str, new: str, chance: float) -> None:
    class Faulty(sqlite3.Connection):
        # The type of the parameters has a name only in the stubs of sqlite3.
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if random.random() < chance:
                sql = sql.replace(old, new)
            return super().execute(sql, *parameters)

    sqlite3.connect = partial(sqlite3.connect, factory=Faulty)  # type: ignore[assignment]


if __name__ == "__main__":
    main(sys.argv[1])
