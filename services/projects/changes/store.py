"""The changes on disk: one sqlite file, written through to the disk at every change."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from services import sqlite
from services.projects.changes.model import (
    ALIVE,
    TRANSITIONS,
    Approval,
    CommentRow,
    Notice,
    RevisionRow,
    Row,
)
from wire import names
from wire.errors import Conflict, NotFound
from wire.records.changes import ChangeState, PublishMode

MIGRATIONS: Final = (
    """
CREATE TABLE change (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project TEXT NOT NULL,
    agent TEXT NOT NULL,
    branch TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    note TEXT NOT NULL DEFAULT '',
    submitted INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    published TEXT NOT NULL DEFAULT '',
    replaces INTEGER NOT NULL DEFAULT 0,
    numbered INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX change_state ON change (state);
CREATE INDEX change_project ON change (project);
CREATE TABLE revision (
    change INTEGER NOT NULL REFERENCES change (id),
    number INTEGER NOT NULL,
    sha TEXT NOT NULL,
    base TEXT NOT NULL,
    submitted INTEGER NOT NULL,
    note TEXT NOT NULL,
    findings TEXT NOT NULL,
    recorded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (change, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX revision_unrecorded ON revision (change) WHERE recorded = 0;
CREATE TABLE approval (
    change INTEGER PRIMARY KEY REFERENCES change (id),
    revision INTEGER NOT NULL,
    base TEXT NOT NULL,
    how TEXT NOT NULL,
    approver TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE TABLE comment (
    id INTEGER PRIMARY KEY,
    change INTEGER NOT NULL REFERENCES change (id),
    author TEXT NOT NULL,
    at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    path TEXT NOT NULL,
    line INTEGER NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX comment_change ON comment (change);
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;
""",
)
"""SQL that makes each version from the one before it.

`findings` is a list of texts in JSON, `recorded` whether the reference of the revision exists,
`replaces` the number of a change, or 0. `numbered` is the last number that a revision of the change
has had: none is used twice, as its reference may exist. `approval` has the latest approval of each
change. A row of `notice` is deleted when the broker has the message.
"""

FORMAT: Final = sqlite.StoreFormat("store of changes", "hive-projects", MIGRATIONS)

_LAST_ID: Final = 2**63 - 1
_COLUMNS: Final = ", ".join(Row._fields)
_APPROVAL: Final = ", ".join(Approval._fields)
_RECORDED: Final = "EXISTS (SELECT 1 FROM revision WHERE revision.change = change.id AND recorded)"
"""The condition that a change is more than an unfinished submission."""


class NewRevision(NamedTuple):
    """A revision that is about to be submitted."""

    commit: str
    base: str
    submitted: int
    note: str
    findings: Sequence[str]


class Store:
    """The changes with their revisions and comments, and the messages owed to agents.

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

    # Reading

    def get(self, number: int) -> Row:
        """Return a change.

        Raises:
            NotFound: there is none of that number.
        """
        found = self._select(f"id = ? AND {_RECORDED}", (number,), 1) if number <= _LAST_ID else []
        if not found:
            raise NotFound(
                f"There is no change {names.change(number)}; `hivectl changes --all`, and for an "
                "agent `list_changes`, shows all."
            )
        return found[0]

    def find(
        self,
        *,
        project: str | None = None,
        agent: str | None = None,
        states: frozenset[ChangeState] | None = None,
        limit: int = -1,
    ) -> list[Row]:
        """Return the newest `limit` changes that match, oldest first; -1: all of them."""
        terms = [_RECORDED]
        values: list[str | int] = []
        for column, wanted in (("project", project), ("agent", agent)):
            if wanted is not None:
                terms.append(f"{column} = ?")
                values.append(wanted)
        if states is not None:
            terms.append(f"state IN ({','.join('?' * len(states))})")
            values += sorted(states)
        return self._select(" AND ".join(terms), values, limit)

    def alive(self, project: str | None = None) -> list[Row]:
        """Return the changes whose state is not final, oldest first."""
        return self.find(project=project, states=ALIVE)

    def revisions(self, number: int) -> list[RevisionRow]:
        """Return the recorded revisions of a change, oldest first."""
        rows = self._db.execute(
            "SELECT * FROM revision WHERE change = ? AND recorded ORDER BY number", (number,)
        )
        return [_revision(row) for row in rows]

    def revision(self, number: int, wanted: int | None = None) -> RevisionRow:
        """Return a recorded revision of a change; None: the newest one.

        Raises:
            NotFound: there is no such revision.
        """
        rows = self.revisions(number)
        found = [row for row in rows if wanted is None or row.number == wanted]
        if not found:
            raise NotFound(
                f"The change {names.change(number)} has no revision {wanted}; its newest one is "
                f"{rows[-1].number}."
            )
        return found[-1]

    def unrecorded(self) -> list[RevisionRow]:
        """Return the revisions whose reference may not exist yet, oldest first."""
        rows = self._db.execute("SELECT * FROM revision WHERE NOT recorded ORDER BY change, number")
        return [_revision(row) for row in rows]

    def of_unrecorded(self, revision: RevisionRow) -> Row:
        """Return the change of a revision that is not recorded; it may have no other one."""
        return self._select("id = ?", (revision.change,), 1)[0]

    def comments(self, number: int) -> list[CommentRow]:
        """Return the comments on a change, oldest first."""
        rows = self._db.execute(
            f"SELECT {', '.join(CommentRow._fields)} FROM comment"  # noqa: S608
            " WHERE change = ? ORDER BY id",
            (number,),
        )
        return [CommentRow(**dict(row)) for row in rows]

    def count_submitted(self, agent: str, since: int) -> int:
        """Return how many revisions an agent has submitted at the time `since` or later."""
        query = (
            "SELECT count(*) FROM revision JOIN change ON change.id = revision.change"
            " WHERE agent = ? AND revision.submitted >= ?"
        )
        (count,) = self._db.execute(query, (agent, since)).fetchone()
        return int(count)

    def count_comments(self, author: str, since: int) -> int:
        """Return how many comments an author has made at the time `since` or later."""
        query = "SELECT count(*) FROM comment WHERE author = ? AND at >= ?"
        (count,) = self._db.execute(query, (author, since)).fetchone()
        return int(count)

    def notices(self) -> list[Notice]:
        """Return the messages that are owed, oldest first."""
        rows = self._db.execute("SELECT id, recipient, body FROM notice ORDER BY id")
        return [Notice(**dict(row)) for row in rows]

    # Writing

    def add(self, row: Row, revision: NewRevision) -> int:
        """Add a change with its first revision, which is not recorded yet; return its number.

        Args:
            row: the change; its id is chosen here, and never used again.
            revision: the revision.
        """
        values = row._asdict()
        del values["id"]
        with self._transaction():
            cursor = self._db.execute(
                f"INSERT INTO change ({', '.join(values)})"  # noqa: S608
                f" VALUES ({', '.join('?' * len(values))})",
                tuple(values.values()),
            )
            number = int(cursor.lastrowid or 0)
            self._add_revision(number, 1, revision)
        return number

    def add_revision(self, number: int, revision: NewRevision) -> int:
        """Add a revision, which is not recorded yet, to a change; return its number."""
        query = "UPDATE change SET numbered = numbered + 1 WHERE id = ? RETURNING numbered"
        with self._transaction():
            [(new,)] = self._db.execute(query, (number,)).fetchall()
            self._add_revision(number, new, revision)
        return int(new)

    def record(self, number: int, revision: int, at: int) -> Row | None:
        """Keep that the reference of a revision exists; its change is open then.

        The change that it replaces is superseded, if that is still possible.

        Args:
            number: the change.
            revision: the number of the revision.
            at: the time.

        Returns:
            The change that was superseded.

        Raises:
            Conflict: the change takes no revision any more.
        """
        [row] = self._select("id = ?", (number,), 1)
        older = next(iter(self._select("id = ?", (row.replaces,), 1)), None)
        superseded = None
        with self._transaction():
            if row.state is not ChangeState.OPEN:
                self._move(row, ChangeState.OPEN, "", at)
            self._db.execute(
                "UPDATE revision SET recorded = 1 WHERE change = ? AND number = ?",
                (number, revision),
            )
            self._db.execute("UPDATE change SET changed = ? WHERE id = ?", (at, number))
            if older and ChangeState.SUPERSEDED in TRANSITIONS[older.state]:
                note = f"The change {names.change(number)} replaced it."
                self._move(older, ChangeState.SUPERSEDED, note, at)
                superseded = self.get(older.id)
        return superseded

    def drop(self, revision: RevisionRow) -> None:
        """Delete a revision that was not recorded, and its change if that has no other one."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM revision WHERE change = ? AND number = ? AND NOT recorded",
                (revision.change, revision.number),
            )
            self._db.execute(
                "DELETE FROM change WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM revision WHERE change = id)",
                (revision.change,),
            )

    def move(
        self,
        number: int,
        new: ChangeState,
        at: int,
        *,
        note: str = "",
        comments: Sequence[CommentRow] = (),
        message: str = "",
    ) -> Row:
        """Change the state of a change; return the change.

        Args:
            number: the change.
            new: its next state.
            at: the time.
            note: what there is to know of the state.
            comments: comments that come with it.
            message: a message to its agent; empty: none.

        Raises:
            NotFound: there is no such change.
            Conflict: that state does not follow the one that it has.
        """
        row = self.get(number)
        if new not in TRANSITIONS[row.state]:
            raise Conflict(f"The change {names.change(number)} is {row.state}; it cannot be {new}.")
        with self._transaction():
            self._move(row, new, note, at)
            self._write(row, comments, message)
        return self.get(number)

    def approve(self, approval: Approval) -> Row:
        """Keep an approval; return the change, which is approved then.

        Raises:
            Conflict: it is not open.
        """
        row = self.get(approval.change)
        with self._transaction():
            self._move(row, ChangeState.APPROVED, "", approval.at)
            self._db.execute(
                f"REPLACE INTO approval ({_APPROVAL}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                approval,
            )
        return self.get(row.id)

    def approval(self, number: int) -> Approval:
        """Return the latest approval of a change that has one."""
        query = f"SELECT {_APPROVAL} FROM approval WHERE change = ?"  # noqa: S608
        row = self._db.execute(query, (number,)).fetchone()
        return Approval(**dict(row))._replace(how=PublishMode(row["how"]))

    def publish(self, number: int, new: ChangeState, commit: str, at: int, message: str) -> Row:
        """Keep that an approved change has reached its branch; return it.

        Args:
            number: the change.
            new: MERGED or PUBLISHED.
            commit: the commit that the branch has got.
            at: the time.
            message: the message to its agent.
        """
        row = self.get(number)
        with self._transaction():
            self._move(row, new, "", at)
            self._db.execute("UPDATE change SET published = ? WHERE id = ?", (commit, number))
            self._write(row, (), message)
        return self.get(number)

    def set_note(self, number: int, note: str, at: int) -> None:
        """Keep why an approved change has not reached its branch yet, and when that was found."""
        with self._transaction():
            self._db.execute(
                "UPDATE change SET note = ?, changed = ? WHERE id = ?", (note, at, number)
            )

    def comment(self, comment: CommentRow, message: str = "") -> None:
        """Add a comment, with a message to the agent of the change; empty: none."""
        with self._transaction():
            self._write(self.get(comment.change), (comment,), message)

    def delivered(self, notice: Notice) -> None:
        """Delete a message that the broker has."""
        with self._transaction():
            self._db.execute("DELETE FROM notice WHERE id = ?", (notice.id,))

    def _write(self, row: Row, comments: Sequence[CommentRow], message: str) -> None:
        for comment in comments:
            self._comment(comment)
        if message:
            self._db.execute(
                "INSERT INTO notice (recipient, body) VALUES (?, ?)", (row.agent, message)
            )

    def _move(self, row: Row, new: ChangeState, note: str, at: int) -> None:
        if new not in TRANSITIONS[row.state]:
            raise Conflict(f"The change {names.change(row.id)} is {row.state}; it cannot be {new}.")
        self._db.execute(
            "UPDATE change SET state = ?, note = ?, changed = ? WHERE id = ?",
            (new, note, at, row.id),
        )

    def _comment(self, comment: CommentRow) -> None:
        self._db.execute(
            f"INSERT INTO comment ({', '.join(CommentRow._fields)})"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            comment,
        )

    def _add_revision(self, number: int, revision: int, new: NewRevision) -> None:
        self._db.execute(
            "INSERT INTO revision (change, number, sha, base, submitted, note, findings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, revision, *new._replace(findings=json.dumps([*new.findings]))),
        )

    def _select(self, where: str, values: Sequence[str | int], limit: int) -> list[Row]:
        # `where` is written in this file; values from outside are bound.
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM change WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        ).fetchall()
        return [
            Row(**dict(row))._replace(state=ChangeState(row["state"])) for row in reversed(rows)
        ]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with sqlite.transaction(self._db):
                yield
        except sqlite3.OperationalError as error:
            raise FORMAT.unavailable(self._path, error) from error


def _revision(row: sqlite3.Row) -> RevisionRow:
    return RevisionRow(
        change=row["change"],
        number=row["number"],
        commit=row["sha"],
        base=row["base"],
        submitted=row["submitted"],
        note=row["note"],
        findings=tuple(json.loads(row["findings"])),
        recorded=bool(row["recorded"]),
    )
