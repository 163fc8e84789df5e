"""Deadlines on disk: which ones are due, and when the next one is."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from services.broker.deadlines.clock import SECOND, Moment

BATCH: Final = 20
"""The most deadlines that one transaction handles, so that a Send waits only briefly for it."""


@dataclass(frozen=True, slots=True)
class DeadlineTable:
    """A table with the columns due, boot and boot_due, and the state in which these count."""

    name: str
    waiting: str

    def ids_due(self, db: sqlite3.Connection, moment: Moment) -> list[int]:
        """Return the ids of the first BATCH rows due at `moment`, longest overdue first."""
        rows = db.execute(
            f"SELECT id, due FROM {self.name} WHERE {self._of_this_boot} "  # noqa: S608 - constants
            "AND boot_due <= :since_boot "
            f"UNION ALL SELECT id, due FROM {self.name} WHERE {self._by_the_wall} "
            f"AND due <= :wall ORDER BY due, id LIMIT {BATCH}",
            _parameters(moment),
        )
        return [row["id"] for row in rows]

    def has_passed(self, db: sqlite3.Connection, number: int, moment: Moment) -> bool:
        """Return whether the row `number` is due at `moment`, and still in the waiting state."""
        found = db.execute(
            f"SELECT 1 FROM {self.name} WHERE id = :id AND ("  # noqa: S608 - constants
            f"({self._of_this_boot} AND boot_due <= :since_boot) "
            f"OR ({self._by_the_wall} AND due <= :wall))",
            _parameters(moment) | {"id": number},
        )
        return found.fetchone() is not None

    def nearest(self, db: sqlite3.Connection, moment: Moment) -> int | None:
        """Return the nearest deadline on the wall clock; None when there is none."""
        parameters = _parameters(moment)
        of_this_boot = db.execute(
            f"SELECT min(boot_due) AS nearest FROM {self.name} "  # noqa: S608 - constants
            f"WHERE {self._of_this_boot}",
            parameters,
        ).fetchone()
        by_the_wall = db.execute(
            f"SELECT min(due) AS nearest FROM {self.name} WHERE {self._by_the_wall}",  # noqa: S608
            parameters,
        ).fetchone()
        boot_due, due = of_this_boot["nearest"], by_the_wall["nearest"]
        times = [] if due is None else [int(due)]
        if boot_due is not None:
            times.append(moment.wall + boot_due - moment.since_boot)
        return min(times, default=None)

    def follow(self, db: sqlite3.Connection, moment: Moment) -> None:
        """Correct `due` of all durations of this boot, after the wall clock was set.

        After a reboot only `due` says when they end.
        """
        db.execute(
            f"UPDATE {self.name} SET due = :wall + boot_due - :since_boot "  # noqa: S608
            f"WHERE {self._of_this_boot} "
            f"AND abs(due - (:wall + boot_due - :since_boot)) > {SECOND}",
            _parameters(moment),
        )

    @property
    def _of_this_boot(self) -> str:
        return f"state = '{self.waiting}' AND boot = :boot"

    # An unknown boot is an empty text, which no row has; then all rows follow the wall clock.
    @property
    def _by_the_wall(self) -> str:
        return f"state = '{self.waiting}' AND due IS NOT NULL AND boot IS NOT :boot"


def _parameters(moment: Moment) -> dict[str, int | str]:
    return {
        "wall": moment.wall,
        "boot": moment.boot,
        "since_boot": moment.since_boot,
    }
