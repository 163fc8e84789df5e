"""Approvals on disk: one sqlite file, written through to the disk at every change.

Changes come at the pace of people, so each is a commit of its own, made on the event loop:
about a quarter of a millisecond.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from services import migration
from services.approvals.model import GOING, OPEN, Approval, Kind, State
from wire.errors import CorruptStore, Unavailable

_STEPS: Final = (
    """
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
""",
    """
ALTER TABLE approval ADD COLUMN sha TEXT NOT NULL DEFAULT '';
ALTER TABLE approval ADD COLUMN base TEXT NOT NULL DEFAULT '';
ALTER TABLE approval ADD COLUMN now INTEGER NOT NULL DEFAULT 0;
ALTER TABLE approval ADD COLUMN marked TEXT NOT NULL DEFAULT '';
UPDATE approval SET state = 'deployed' WHERE state = 'spawned';
UPDATE approval SET marked = state WHERE state NOT IN ('pending', 'approved');
DROP INDEX one_open_request_a_name;
CREATE UNIQUE INDEX one_pending_an_agent ON approval (agent) WHERE state = 'pending';
CREATE UNIQUE INDEX one_going_an_agent ON approval (agent)
    WHERE state IN ('approved', 'building');
CREATE UNIQUE INDEX one_spawn_a_name ON approval (agent)
    WHERE kind = 'spawn' AND state IN ('pending', 'approved', 'building');
CREATE INDEX approval_unmarked ON approval (id) WHERE marked <> state;
CREATE INDEX approval_requested ON approval (requested);
""",
)
"""What makes each version from the one before it. `marked` is the state that git tells already."""

_COLUMNS: Final = (
    "id, kind, agent, sha, reason, requested_by, requested, state, note, resolved, base, now"
)

_LAST_ID: Final = 2**63 - 1


class Store:
    """The approvals of a hive. All methods are durable when they return.

    Those that write raise Unavailable, with nothing written, when the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file at `path`, or make it; an older one is migrated, see services.migration.

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

    def add(
        self,
        kind: Kind,
        agent: str,
        commit: str,
        reason: str,
        requested_by: str,
        requested: int,
    ) -> int:
        """Add a pending request; returns its id, which is never used again.

        A pending one of the same agent is superseded by it, in the same transaction, and its
        requester is not told: it is who has asked anew.
        """
        older = self.pending(agent)
        with self._writing():
            if older:
                self._db.execute(
                    "UPDATE approval SET state = ?, resolved = ?, told = ? WHERE id = ?",
                    (State.SUPERSEDED, requested, older.requested_by == requested_by, older.id),
                )
            cursor = self._db.execute(
                "INSERT INTO approval (kind, agent, sha, reason, requested_by, requested, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (kind, agent, commit, reason, requested_by, requested, State.PENDING),
            )
            number = int(cursor.lastrowid or 0)
            if older:
                self._db.execute(
                    "UPDATE approval SET note = ? WHERE id = ?",
                    (f"Request {number} took its place.", older.id),
                )
        return number

    def get(self, number: int) -> Approval | None:
        """The request with that id."""
        if number > _LAST_ID:
            return None  # sqlite would not even take it
        found = self._select("id = ?", (number,), 1)
        return found[0] if found else None

    def pending(self, agent: str) -> Approval | None:
        """The request for `agent` that waits for the operator."""
        found = self._select("agent = ? AND state = ?", (agent, State.PENDING), 1)
        return found[0] if found else None

    def going(self, agent: str | None = None) -> list[Approval]:
        """What is approved or building: at most one of `agent`, or those of all, oldest first."""
        where, values = _among("state", GOING)
        if agent is None:
            return self._select(where, values, -1)
        return self._select(f"{where} AND agent = ?", (*values, agent), -1)

    def count(self, state: State) -> int:
        """How many requests are in `state`."""
        row = self._db.execute("SELECT count(*) FROM approval WHERE state = ?", (state,)).fetchone()
        return int(row[0])

    def count_since(self, requested_by: str, since: int) -> int:
        """How many requests somebody has made at `since` or later."""
        row = self._db.execute(
            "SELECT count(*) FROM approval WHERE requested >= ? AND requested_by = ?",
            (since, requested_by),
        ).fetchone()
        return int(row[0])

    def find(
        self, *, state: State | None = None, agent: str | None = None, limit: int = -1
    ) -> list[Approval]:
        """The newest `limit` requests that match, oldest first; all of them when it is -1."""
        wanted: dict[str, Any] = {"state = ?": state, "agent = ?": agent}
        given = {term: value for term, value in wanted.items() if value is not None}
        return self._select(" AND ".join(given) or "true", tuple(given.values()), limit)

    def move(
        self, number: int, old: State, new: State, note: str, resolved: int, *, told: bool = False
    ) -> bool:
        """Change the state if it is still `old`; returns whether it was.

        `told`: whether the manager need not be told of it.
        """
        with self._writing():
            cursor = self._db.execute(
                "UPDATE approval SET state = ?, note = ?, resolved = ?, told = ?"
                " WHERE id = ? AND state = ?",
                (new, note, resolved, told, number, old),
            )
        return cursor.rowcount == 1

    def set_now(self, number: int) -> None:
        """Keep that the end of a turn is not waited for."""
        with self._writing():
            self._db.execute("UPDATE approval SET now = 1 WHERE id = ?", (number,))

    def approve(self, number: int, base: str, now: bool, resolved: int) -> bool:
        """From pending to approved, on top of `base`; returns whether it was pending."""
        with self._writing():
            cursor = self._db.execute(
                "UPDATE approval SET state = ?, base = ?, now = ?, resolved = ?"
                " WHERE id = ? AND state = ?",
                (State.APPROVED, base, now, resolved, number, State.PENDING),
            )
        return cursor.rowcount == 1

    def set_commit(self, number: int, commit: str) -> None:
        """Keep the commit of a request that has none."""
        with self._writing():
            self._db.execute(
                "UPDATE approval SET sha = ? WHERE id = ? AND sha = ''", (commit, number)
            )

    def unmarked(self, agent: str | None = None) -> list[Approval]:
        """Requests whose latest state git does not tell yet, oldest first."""
        if agent is None:
            return self._select("marked <> state", (), -1)
        return self._select("marked <> state AND agent = ?", (agent,), -1)

    def set_marked(self, number: int, state: State) -> None:
        """Keep that git tells that it came to `state`."""
        with self._writing():
            self._db.execute("UPDATE approval SET marked = ? WHERE id = ?", (state, number))

    def mark_anew(self) -> None:
        """Have git looked at again for all that are open."""
        where, values = _among("state", OPEN)
        with self._writing():
            self._db.execute(f"UPDATE approval SET marked = '' WHERE {where}", values)  # noqa: S608

    def untold(self) -> list[Approval]:
        """Requests that are final and told by git, and the manager has not been told so."""
        where, values = _among("state", OPEN)
        return self._select(f"told = 0 AND marked = state AND NOT {where}", values, -1)

    def set_told(self, number: int) -> None:
        """Keep that the manager has been told."""
        with self._writing():
            self._db.execute("UPDATE approval SET told = 1 WHERE id = ?", (number,))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction. Raises Unavailable when the disk does not take it."""
        try:
            with self._db:
                yield
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"{self._path} could not be written: {error}; nothing was changed. "
                "See to the disk (df, journalctl -u hive-approvals), then try again."
            ) from error

    def _select(self, where: str, values: Sequence[Any], limit: int) -> list[Approval]:
        # `where` is written in this file; what comes from outside is bound.
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM approval WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        ).fetchall()
        return [_approval(row) for row in reversed(rows)]


def _among(column: str, states: frozenset[State]) -> tuple[str, tuple[State, ...]]:
    """A condition with its values: that the column has one of `states`."""
    return f"{column} IN ({','.join('?' * len(states))})", tuple(sorted(states))


def _approval(row: Sequence[Any]) -> Approval:
    number, kind, agent, sha, reason, by, requested, state, note, resolved, base, now = row
    return Approval(
        number, Kind(kind), agent, sha, reason, by, requested, State(state), note, resolved, base,
        bool(now),
    )  # fmt: skip


def _examine(path: Path) -> None:
    """Look at the file without writing to it; raises sqlite3.Error when it is no store of ours."""
    before = set(path.parent.iterdir())
    db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        version = migration.version_of(db)
        if found != "ok":
            raise sqlite3.DatabaseError(found)
        if version > len(_STEPS):
            raise sqlite3.DatabaseError(f"it was written by a newer version, {version}")
        if version or db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            db.execute("SELECT id, kind, agent, state, told FROM approval LIMIT 1")
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
        migration.migrate(db, path, _STEPS)
    except (sqlite3.Error, OSError):
        db.close()
        raise
    return db
