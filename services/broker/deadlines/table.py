"""Deadlines on disk: what is due, and when the next is."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from services.broker.deadlines.clock import SECOND, Moment

BATCH: Final = 20
"""The most that falls due in one transaction, so that a Send need not wait long behind it."""


@dataclass(frozen=True, slots=True)
class DeadlineTable:
    """A table with the columns due, boot and boot_due, and the state in which they count."""

    name: str
    waiting: str

    def ids_due(self, db: sqlite3.Connection, moment: Moment) -> list[int]:
        """The ids of the first BATCH of what is due at `moment`, longest overdue first."""
        rows = db.execute(
            f"SELECT id, due FROM {self.name} WHERE {self._of_this_boot} "  # noqa: S608 - constants
            "AND boot_due <= :since_boot "
            f"UNION ALL SELECT id, due FROM {self.name} WHERE {self._by_the_wall} "
            f"AND due <= :wall ORDER BY due, id LIMIT {BATCH}",
            _parameters(moment),
        )
        return [row[0] for row in rows]

    def has_passed(self, db: sqlite3.Connection, number: int, moment: Moment) -> bool:
        """Whether the row `number` is due at `moment`, and waits to be told so."""
        found = db.execute(
            f"SELECT 1 FROM {self.name} WHERE id = :id AND ("  # noqa: S608 - constants
            f"({self._of_this_boot} AND boot_due <= :since_boot) "
            f"OR ({self._by_the_wall} AND due <= :wall))",
            _parameters(moment) | {"id": number},
        )
        return found.fetchone() is not None

    def nearest(self, db: sqlite3.Connection, moment: Moment) -> int | None:
        """What the wall clock will show at the nearest deadline; None when there is none."""
        parameters = _parameters(moment)
        (boot_due,) = db.execute(
            f"SELECT min(boot_due) FROM {self.name} WHERE {self._of_this_boot}",  # noqa: S608
            parameters,
        ).fetchone()
        (due,) = db.execute(
            f"SELECT min(due) FROM {self.name} WHERE {self._by_the_wall}",  # noqa: S608
            parameters,
        ).fetchone()
        times = [] if due is None else [int(due)]
        if boot_due is not None:
            times.append(moment.wall + boot_due - moment.since_boot)
        return min(times, default=None)

    def follow(self, db: sqlite3.Connection, moment: Moment) -> None:
        """The wall clock was set: say in its terms when the spans of time of this boot end.

        After a reboot there is nothing else to tell it by.
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

    # An unknown boot is an empty text, which no row has: then all follow the wall clock.
    @property
    def _by_the_wall(self) -> str:
        return f"state = '{self.waiting}' AND due IS NOT NULL AND boot IS NOT :boot"


def _parameters(moment: Moment) -> dict[str, int | str]:
    return {
        "wall": moment.wall,
        "boot": moment.boot,
        "since_boot": moment.since_boot,
    }
