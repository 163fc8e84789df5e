"""Approvals on disk: one sqlite file, written through to the disk at every change.

Changes come at the pace of people, so each is a commit of its own, made on the event loop:
about a quarter of a millisecond.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.approvals.model import OPEN, Approval, Kind, State
from wire.errors import CorruptStore

VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE approval (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    agent TEXT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested INTEGER NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    resolved INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX one_open_request_a_name ON approval (agent)
    WHERE state IN ('pending', 'approved');
CREATE INDEX approval_state ON approval (state);
"""

_COLUMNS: Final = "id, kind, agent, reason, requested_by, requested, state, note, resolved"

_LAST_ID: Final = 2**63 - 1


class Store:
    """The approvals of a hive. All methods are durable when they return."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, or make it.

        Raises CorruptStore, having changed nothing, when it cannot be read as our store.
        """
        self._path = path
        try:
            if path.exists():
                _examine(path)
            self._db = _open(path)
        except (sqlite3.Error, OSError) as error:
            raise CorruptStore(
                f"{path} cannot be read ({error}); nothing was changed. Restore it from a backup, "
                "or move it and its -wal and -shm files away to start with no approvals."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, kind: Kind, agent: str, reason: str, requested_by: str, requested: int) -> int:
        """Add a pending request; returns its id, which is never used again."""
        with self._db:
            cursor = self._db.execute(
                "INSERT INTO approval (kind, agent, reason, requested_by, requested, state)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (kind, agent, reason, requested_by, requested, State.PENDING),
            )
        return int(cursor.lastrowid or 0)

    def get(self, number: int) -> Approval | None:
        """The request with that id."""
        if number > _LAST_ID:
            return None  # sqlite would not even take it
        found = self._select("id = ?", (number,), 1)
        return found[0] if found else None

    def open_request(self, agent: str) -> Approval | None:
        """The request for `agent` that is not final yet."""
        marks = ",".join("?" * len(OPEN))
        found = self._select(f"agent = ? AND state IN ({marks})", (agent, *sorted(OPEN)), 1)
        return found[0] if found else None

    def count(self, state: State) -> int:
        """How many requests are in `state`."""
        row = self._db.execute("SELECT count(*) FROM approval WHERE state = ?", (state,)).fetchone()
        return int(row[0])

    def find(
        self, *, state: State | None = None, agent: str | None = None, limit: int = -1
    ) -> list[Approval]:
        """The newest `limit` requests that match, oldest first; all of them when it is -1."""
        wanted: dict[str, Any] = {"state = ?": state, "agent = ?": agent}
        given = {term: value for term, value in wanted.items() if value is not None}
        return self._select(" AND ".join(given) or "true", tuple(given.values()), limit)

    def move(self, number: int, old: State, new: State, note: str, resolved: int) -> bool:
        """Change the state if it is still `old`; returns whether it was."""
        with self._db:
            cursor = self._db.execute(
                "UPDATE approval SET state = ?, note = ?, resolved = ? WHERE id = ? AND state = ?",
                (new, note, resolved, number, old),
            )
        return cursor.rowcount == 1

    def untold(self) -> list[Approval]:
        """Requests that are final, and the manager has not been told so."""
        marks = ",".join("?" * len(OPEN))
        return self._select(f"told = 0 AND state NOT IN ({marks})", tuple(sorted(OPEN)), -1)

    def set_told(self, number: int) -> None:
        """Keep that the manager has been told."""
        with self._db:
            self._db.execute("UPDATE approval SET told = 1 WHERE id = ?", (number,))

    def _select(self, where: str, values: Sequence[Any], limit: int) -> list[Approval]:
        # `where` is written in this file; what comes from outside is bound.
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM approval WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        ).fetchall()
        return [_approval(row) for row in reversed(rows)]


def _approval(row: Sequence[Any]) -> Approval:
    number, kind, agent, reason, requested_by, requested, state, note, resolved = row
    return Approval(
        number, Kind(kind), agent, reason, requested_by, requested, State(state), note, resolved
    )


def _examine(path: Path) -> None:
    """Look at the file without writing to it; raises sqlite3.Error when it is no store of ours."""
    before = set(path.parent.iterdir())
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if version > VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer version, {version}")
        if version or db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            db.execute(f"SELECT {_COLUMNS}, told FROM approval LIMIT 1")  # noqa: S608
    finally:
        db.close()
        # A reader leaves an empty log and its index behind.
        for extra in set(path.parent.iterdir()) - before:
            extra.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
    except sqlite3.Error:
        db.close()
        raise
    return db
