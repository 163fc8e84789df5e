"""The projects on disk: one sqlite file, written through to the disk at every change."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services import sqlite
from services.projects.model import TRANSITIONS, Row
from wire.errors import NotFound
from wire.records.changes import PublishMode
from wire.records.projects import ProjectState

MIGRATIONS: Final = (
    """
CREATE TABLE project (
    name TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    branch TEXT NOT NULL,
    state TEXT NOT NULL,
    message TEXT NOT NULL DEFAULT '',
    fetched INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL,
    size INTEGER NOT NULL DEFAULT 0,
    credential TEXT NOT NULL,
    depth INTEGER NOT NULL,
    filter TEXT NOT NULL,
    private INTEGER NOT NULL,
    notes TEXT NOT NULL DEFAULT '[]'
) STRICT;
""",
    """
ALTER TABLE project ADD COLUMN how TEXT NOT NULL DEFAULT 'merge';
""",
)
"""SQL that makes each version from the one before it; `notes` is a list of texts in JSON."""

FORMAT: Final = sqlite.StoreFormat("store of projects", "hive-projects", MIGRATIONS)

_COLUMNS: Final = ", ".join(Row._fields)
_SLOTS: Final = ", ".join("?" * len(Row._fields))


class Store:
    """The rows of all projects.

    A change is on the disk when its method returns. Each method that writes raises Unavailable,
    with nothing written, when the disk does not take the change.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, or make it.

        Raises:
            CorruptStore: the file cannot be used; it was not changed.
        """
        self._path = path
        self._db = sqlite.open_store(path, FORMAT)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def all(self) -> list[Row]:
        """Return all projects, by their names."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM project ORDER BY name")  # noqa: S608
        return [_row(row) for row in rows]

    def find(self, name: str) -> Row | None:
        """Return a project; None: there is none of that name."""
        query = f"SELECT {_COLUMNS} FROM project WHERE name = ?"  # noqa: S608
        row = self._db.execute(query, (name,)).fetchone()
        return _row(row) if row else None

    def get(self, name: str) -> Row:
        """Return a project.

        Raises:
            NotFound: there is none of that name.
        """
        if row := self.find(name):
            return row
        raise NotFound(f"There is no project {name[:40]!r}; `hivectl project list` shows all.")

    def add(self, row: Row) -> None:
        """Add a project, of whose name there is none."""
        with self._transaction():
            insert = f"INSERT INTO project ({_COLUMNS}) VALUES ({_SLOTS})"  # noqa: S608
            self._db.execute(insert, _values(row))

    def put(self, row: Row) -> None:
        """Replace the row of a project, whose next state must be one that may follow.

        Raises:
            NotFound: it was deleted meanwhile.
        """
        old = self.get(row.name).state
        if row.state is not old and row.state not in TRANSITIONS[old]:
            raise ValueError(f"{row.name}: {row.state} does not follow {old}")
        setting = ", ".join(f"{column} = ?" for column in Row._fields)
        with self._transaction():
            update = f"UPDATE project SET {setting} WHERE name = ?"  # noqa: S608
            self._db.execute(update, (*_values(row), row.name))

    def delete(self, name: str) -> None:
        """Delete the row of a project whose repository is gone."""
        with self._transaction():
            self._db.execute("DELETE FROM project WHERE name = ?", (name,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with sqlite.transaction(self._db):
                yield
        except sqlite3.OperationalError as error:
            raise FORMAT.unavailable(self._path, error) from error


def _values(row: Row) -> tuple[str | int, ...]:
    return tuple(row._replace(notes=json.dumps(row.notes)))  # type: ignore[arg-type]


def _row(row: sqlite3.Row) -> Row:
    return Row(**dict(row))._replace(
        state=ProjectState(row["state"]),
        private=bool(row["private"]),
        how=PublishMode(row["how"]),
        notes=tuple(json.loads(row["notes"])),
    )
