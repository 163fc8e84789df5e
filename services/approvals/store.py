"""Requests on disk: one sqlite file, written through to the disk at every change.

Changes come at the pace of people, so each is a commit of its own, made on the event loop: about a
quarter of a millisecond.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services import sqlite
from services.approvals.model import IN_PROGRESS, OPEN, Approval
from wire.records.approvals import ApprovalKind, ApprovalState

MIGRATIONS: Final = (
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
"""SQL that makes each version from the one before it.

`sha` is the commit, `marked` the state that git records already, `told` whether the manager has
been notified.
"""

FORMAT: Final = sqlite.StoreFormat("store of requests", "hive-approvals", MIGRATIONS)

_COLUMNS: Final = (
    "id, kind, agent, sha, reason, requested_by, requested, state, note, resolved, base, now"
)

_LAST_ID: Final = 2**63 - 1


class Requests:
    """The requests on disk, to be read."""

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

    def get(self, number: int) -> Approval | None:
        """Return the request with that id."""
        if number > _LAST_ID:
            return None  # sqlite does not take such a number
        return next(iter(self._select("id = ?", (number,), 1)), None)

    def pending(self, agent: str) -> Approval | None:
        """Return the request for `agent` that waits for the operator."""
        found = self._select("agent = ? AND state = ?", (agent, ApprovalState.PENDING), 1)
        return next(iter(found), None)

    def in_progress(self, agent: str | None = None) -> list[Approval]:
        """Return the approved and building requests, oldest first: at most one per agent.

        Args:
            agent: return only its request; None: those of all agents.
        """
        where, values = _among("state", IN_PROGRESS)
        if agent is None:
            return self._select(where, values, -1)
        return self._select(f"{where} AND agent = ?", (*values, agent), -1)

    def count(self, state: ApprovalState) -> int:
        """Return how many requests are in `state`."""
        query = "SELECT count(*) FROM approval WHERE state = ?"
        (count,) = self._db.execute(query, (state,)).fetchone()
        return int(count)

    def count_since(self, requested_by: str, since: int) -> int:
        """Return how many requests `requested_by` has made at the time `since` or later."""
        query = "SELECT count(*) FROM approval WHERE requested >= ? AND requested_by = ?"
        (count,) = self._db.execute(query, (since, requested_by)).fetchone()
        return int(count)

    def find(
        self,
        *,
        number: int | None = None,
        before: int | None = None,
        state: ApprovalState | None = None,
        agent: str | None = None,
        limit: int = -1,
    ) -> list[Approval]:
        """Return the newest `limit` requests that match, oldest first; -1: all of them.

        Args:
            before: return only requests with a smaller number.
        """
        if number is not None and number > _LAST_ID:
            return []  # sqlite does not take such a number
        wanted: dict[str, str | int | None] = {
            "id = ?": number,
            "id < ?": None if before is None else min(before, _LAST_ID),
            "state = ?": state,
            "agent = ?": agent,
        }
        given = {term: value for term, value in wanted.items() if value is not None}
        return self._select(" AND ".join(given) or "true", tuple(given.values()), limit)

    def unrecorded(self, agent: str | None = None) -> list[Approval]:
        """Return the requests whose latest state git does not record yet, oldest first.

        Args:
            agent: return only its requests; None: those of all agents.
        """
        if agent is None:
            return self._select("marked <> state", (), -1)
        return self._select("marked <> state AND agent = ?", (agent,), -1)

    def unnotified(self) -> list[Approval]:
        """Return the ended requests that git records and the manager has not been notified of."""
        where, values = _among("state", OPEN)
        return self._select(f"told = 0 AND marked = state AND NOT {where}", values, -1)

    def _select(self, where: str, values: Sequence[str | int], limit: int) -> list[Approval]:
        # `where` is written in this file; values from outside are bound.
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM approval WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        ).fetchall()
        return [_approval(row) for row in reversed(rows)]


class Store(Requests):
    """The requests on disk, to be written: only the ledger does that.

    A change is on the disk when its method returns. Each method raises Unavailable, with nothing
    written, when the disk does not take the change.
    """

    def add(
        self,
        kind: ApprovalKind,
        agent: str,
        commit: str,
        reason: str,
        requested_by: str,
        requested: int,
    ) -> int:
        """Add a pending request; return its id, which is never used again.

        A pending request of the same agent is superseded in the same transaction. The manager is
        not notified of that when it has made both.
        """
        older = self.pending(agent)
        with self._transaction():
            if older:
                self._db.execute(
                    "UPDATE approval SET state = ?, resolved = ?, told = ? WHERE id = ?",
                    (
                        ApprovalState.SUPERSEDED,
                        requested,
                        older.requested_by == requested_by,
                        older.id,
                    ),
                )
            cursor = self._db.execute(
                "INSERT INTO approval (kind, agent, sha, reason, requested_by, requested, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (kind, agent, commit, reason, requested_by, requested, ApprovalState.PENDING),
            )
            number = int(cursor.lastrowid or 0)
            if older:
                self._db.execute(
                    "UPDATE approval SET note = ? WHERE id = ?",
                    (f"Request {number} replaced it.", older.id),
                )
        return number

    def move(
        self,
        number: int,
        old: ApprovalState,
        new: ApprovalState,
        note: str,
        resolved: int,
        *,
        notified: bool = False,
    ) -> bool:
        """Change the state if it is still `old`; return whether it was.

        Args:
            notified: whether the manager need not be notified.
        """
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE approval SET state = ?, note = ?, resolved = ?, told = ?"
                " WHERE id = ? AND state = ?",
                (new, note, resolved, notified, number, old),
            )
        return cursor.rowcount == 1

    def approve(self, number: int, base: str, now: bool, resolved: int) -> bool:
        """Change the state from pending to approved, on top of `base`; return whether it was."""
        with self._transaction():
            cursor = self._db.execute(
                "UPDATE approval SET state = ?, base = ?, now = ?, resolved = ?"
                " WHERE id = ? AND state = ?",
                (ApprovalState.APPROVED, base, now, resolved, number, ApprovalState.PENDING),
            )
        return cursor.rowcount == 1

    def set_now(self, number: int) -> None:
        """Keep that the job does not wait for the end of a turn."""
        with self._transaction():
            self._db.execute("UPDATE approval SET now = 1 WHERE id = ?", (number,))

    def set_commit(self, number: int, commit: str) -> None:
        """Keep the commit of a request that has none."""
        with self._transaction():
            self._db.execute(
                "UPDATE approval SET sha = ? WHERE id = ? AND sha = ''", (commit, number)
            )

    def set_recorded(self, number: int, state: ApprovalState) -> None:
        """Keep that git records that the request reached `state`."""
        with self._transaction():
            self._db.execute("UPDATE approval SET marked = ? WHERE id = ?", (state, number))

    def clear_recorded(self) -> None:
        """Have the records in git of all open requests made again."""
        where, values = _among("state", OPEN)
        with self._transaction():
            self._db.execute(f"UPDATE approval SET marked = '' WHERE {where}", values)  # noqa: S608

    def set_notified(self, number: int) -> None:
        """Keep that the manager has been notified of the end of the request."""
        with self._transaction():
            self._db.execute("UPDATE approval SET told = 1 WHERE id = ?", (number,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with sqlite.transaction(self._db):
                yield
        except sqlite3.OperationalError as error:
            raise FORMAT.unavailable(self._path, error) from error


def _among(column: str, states: frozenset[ApprovalState]) -> tuple[str, tuple[ApprovalState, ...]]:
    """Return the condition that `column` has one of `states`, with its values."""
    return f"{column} IN ({','.join('?' * len(states))})", tuple(sorted(states))


def _approval(row: sqlite3.Row) -> Approval:
    return Approval(
        id=row["id"],
        kind=ApprovalKind(row["kind"]),
        agent=row["agent"],
        commit=row["sha"],
        reason=row["reason"],
        requested_by=row["requested_by"],
        requested=row["requested"],
        state=ApprovalState(row["state"]),
        note=row["note"],
        resolved=row["resolved"],
        base=row["base"],
        now=bool(row["now"]),
    )
