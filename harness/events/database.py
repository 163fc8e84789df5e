"""An sqlite file in /state, or the memory of this process when the file cannot be used."""

import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

log = logging.getLogger(__name__)

Value: TypeAlias = str | int | float | None

BUSY: Final = 1.0
"""Seconds to wait while another process writes to the file, such as the host's sweep."""
MEMORY_PAGES: Final = 16 * 1024
"""Pages of 4 KiB that a record in memory may have: 64 MiB."""


class Database:
    """A file with one table, which continues in memory when it cannot be opened or written.

    The agent can put anything in the place of the file, and the disk can be full. The rows keep
    their numbers: rows in memory have greater ones than those of the file, and are added to it as
    soon as it can be written again.

    Attributes:
        trouble: Why nothing is stored now; empty if the rows go to the file.
    """

    def __init__(self, path: Path, schema: Sequence[str], table: str, first: int) -> None:
        """Open the file.

        Args:
            path: the file.
            schema: for each version, the statements that lead to it from the one before. The
                statements of the first version must not fail on a file that has it already.
            table: the name of the table, which has the key `id`.
            first: the first id of a new file.
        """
        self._path, self._schema, self._table, self._first = path, schema, table, first
        self.trouble = ""
        self._last = 0
        self._inode = 0
        self._database = self._open()

    def write(self, statement: str, values: Sequence[Value]) -> int:
        """Execute a statement that changes a row; return the id of an inserted row."""
        try:
            number = self._database.execute(statement, values).lastrowid or 0
        except sqlite3.Error as exc:
            if not self.trouble:
                self._fall_back(str(exc))
            else:
                self._forget_half(str(exc))
            number = self._database.execute(statement, values).lastrowid or 0
        self._last = max(self._last, number)
        return number

    def read(self, query: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """Return the rows of a query; none if the file is damaged."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as exc:
            log.warning("%s cannot be read: %s", self._path, exc)
            return []

    def recover(self) -> bool:
        """Try the file again if the rows are in memory; return whether they are stored now.

        A file that was moved away or replaced is opened again.
        """
        if not self.trouble:
            if not self._is_lost():
                return True
            log.warning("%s was replaced: it is opened again", self._path)
            self._database.close()
            self._database = self._open()
            return not self.trouble
        memory = self._database
        try:
            file = self._connect()
        except (sqlite3.Error, OSError):
            return False
        try:
            rows = memory.execute(f"SELECT * FROM {self._table}").fetchall()  # noqa: S608
            if rows:
                marks = ", ".join("?" * len(rows[0]))
                insert = f"INSERT OR IGNORE INTO {self._table} VALUES ({marks})"  # noqa: S608
                with file:
                    file.execute("BEGIN")
                    file.executemany(insert, rows)
        except sqlite3.Error:
            file.close()
            return False
        memory.close()
        self._database, self.trouble = file, ""
        log.info("%s can be written again", self._path)
        return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except (sqlite3.Error, OSError) as exc:
            return self._memory(str(exc))

    def _connect(self) -> sqlite3.Connection:
        if self._path.is_symlink() or (self._path.exists() and not self._path.is_file()):
            # A pipe in its place would block the harness for ever.
            raise OSError(f"{self._path} is not a regular file")
        database = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY)
        try:
            # The host's sweep gives freed pages back to the file system. Only for a new file.
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = WAL")
            # Losing the last events in a power cut is acceptable; the broker keeps the messages.
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA journal_size_limit = 1048576")
            self._migrate(database, max(self._first, self._last + 1))
            self._inode = self._path.stat().st_ino
            query = f"SELECT max(id) FROM {self._table}"  # noqa: S608
            self._last = max(self._last, int(database.execute(query).fetchone()[0] or 0))
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection, first: int) -> None:
        version = int(database.execute("PRAGMA user_version").fetchone()[0])
        if version >= len(self._schema):  # a newer harness may have written it: it only adds
            return
        for number, statements in enumerate(self._schema[version:], version + 1):
            script = f"BEGIN; {statements}; PRAGMA user_version = {number}; COMMIT"
            database.executescript(script)
        # A number is not used twice, also when the file was lost: else a reader who has followed
        # the lost file would take new rows for known ones.
        database.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
            (self._table, first - 1, self._table),
        )

    def _is_lost(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except OSError:
            return True

    def _fall_back(self, reason: str) -> None:
        self._database.close()
        self._database = self._memory(reason)

    def _forget_half(self, reason: str) -> None:
        log.warning("the older half of what is recorded in memory is forgotten: %s", reason)
        self._database.execute(
            f"DELETE FROM {self._table} WHERE id <="  # noqa: S608
            f" (SELECT (min(id) + max(id)) / 2 FROM {self._table})"
        )

    def _memory(self, reason: str) -> sqlite3.Connection:
        self.trouble = f"{self._path} cannot be used: {reason}"
        log.error("%s; it is recorded in memory", self.trouble)
        database = sqlite3.connect(":memory:", isolation_level=None)
        database.execute(f"PRAGMA max_page_count = {MEMORY_PAGES}")
        # The numbers of a file that was never opened are not known; the time is greater.
        first = self._last + 1 if self._last else max(self._first, int(time.time()))
        self._migrate(database, first)
        return database


def now_in_milliseconds() -> int:
    """Return the time, as the first number of the events of a new file."""
    return time.time_ns() // 1_000_000
