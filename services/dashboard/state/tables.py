"""The tables that pages mirror: one numbered snapshot, then only changes."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias, TypedDict

from services.dashboard.state.event_log import EventLog

Json: TypeAlias = "str | int | float | Sequence[Json] | Mapping[str, Json] | None"
"""A value that JSON has."""

Row: TypeAlias = Mapping[str, Json]
"""One row of a table."""


class Table(StrEnum):
    """The tables that a page mirrors; each maps a text key to a row."""

    SERVICES = "services"
    AGENTS = "agents"
    JOBS = "jobs"
    OUTPUT = "output"
    COSTS = "costs"
    BUDGETS = "budgets"
    EGRESS = "egress"
    LIMITS = "limits"
    APPROVALS = "approvals"
    PROJECTS = "projects"
    CHANGES = "changes"
    MESSAGES = "messages"
    QUESTIONS = "questions"
    REMINDERS = "reminders"
    NOTICES = "notices"
    QUEUES = "queues"
    SAMPLES = "samples"


class Snapshot(TypedDict):
    """All tables, as `GET /api/state` answers them."""

    epoch: str
    seq: int
    """The number of the last change in the tables."""
    tables: Mapping[Table, Mapping[str, Row]]


class Tables:
    """Rows by table and key. Each change is logged at the moment it is made.

    A reader that takes `snapshot()` number N, and applies every change numbered above N once and in
    order, has the same rows. Changes carry whole rows, so a reader never merges fields.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._rows: dict[Table, dict[str, Row]] = {table: {} for table in Table}
        self._watchers: list[Callable[[Table, set[str]], None]] = []

    def watch(self, changed: Callable[[Table, set[str]], None]) -> None:
        """Call `changed` with a table and the keys of its changed rows, after each change."""
        self._watchers.append(changed)

    def rows(self, table: Table) -> Mapping[str, Row]:
        """Return the current rows of `table`; the caller must not change them."""
        return self._rows[table]

    def update(
        self, table: Table, put: Mapping[str, Row] | None = None, remove: set[str] | None = None
    ) -> None:
        """Put and remove rows as one change; log nothing when no row differs.

        Args:
            table: the table to change.
            put: rows that are new, or replace the row of the same key.
            remove: keys to drop; unknown ones are ignored.
        """
        rows = self._rows[table]
        gone = sorted(key for key in remove or () if key in rows)
        fresh = {key: row for key, row in (put or {}).items() if rows.get(key) != row}
        for key in gone:
            del rows[key]
        rows.update(fresh)
        if gone or fresh:
            self._log.append({"table": table, "put": fresh, "remove": gone})
            for changed in self._watchers:
                changed(table, {*fresh, *gone})

    def replace(self, table: Table, rows: Mapping[str, Row]) -> None:
        """Make `rows` the only rows of `table`; log only the differences."""
        self.update(table, put=rows, remove=set(self._rows[table]) - set(rows))

    def snapshot(self) -> Snapshot:
        """Return all tables, with the number of the last change in them."""
        return {"epoch": self._log.epoch, "seq": self._log.seq, "tables": self._rows}
