"""The part that runs with the uid of the agent: it deletes old rows in the files of the harness.

The agent can have put anything in the place of the files. Whatever it is, this process may do no
more than the agent itself.
"""

import os
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DAY: Final = 86400.0
BATCH: Final = 500
"""Rows deleted at a time: the harness waits at most a second for its own write."""
BUSY: Final = 5.0
"""Seconds to wait for the harness, which writes for some milliseconds."""
SECONDS: Final = 40.0
"""The time for one file."""
FREE_PAGES: Final = 2000
"""Pages given back to the file system at a time."""
REST: Final = 60.0
"""Seconds since the newest row after which the harness is taken to be between turns."""


@dataclass(frozen=True)
class Kept:
    """The rows that are kept of a file.

    Attributes:
        time: The column with the time of a row, in seconds since 1970.
        days: The age of the oldest rows that are kept.
        least: The newest rows that are kept, however old they are.
        most_bytes: Bytes of a file above which older rows are deleted, too.
    """

    file: str
    table: str
    time: str
    days: float
    least: int
    most_bytes: int


EVENTS: Final = Kept("hyperhive-events.sqlite", "events", "at", 7, 2000, 256 * 2**20)
TURNS: Final = Kept("hyperhive-turn-stats.sqlite", "turns", "started", 90, 0, 64 * 2**20)

INCREMENTAL: Final = 2
"""The auto_vacuum of a file that can give its free pages back."""

MAX_FILE: Final = 2 * 2**30
"""Bytes of a file that is moved away without being opened; the harness makes a new one."""


@dataclass
class Outcome:
    """Sentences about the files, and whether one of them was left alone."""

    lines: list[str] = field(default_factory=list)
    left_alone: bool = False


class TrapError(Exception):
    """A file is not what the harness makes; the text says why."""


def sweep(kept: tuple[Kept, ...] = (EVENTS, TURNS)) -> Outcome:
    """Sweep the files in the working directory."""
    outcome = Outcome()
    for rule in kept:
        try:
            if line := _sweep(rule):
                outcome.lines.append(f"{rule.file}: {line}")
        except (TrapError, sqlite3.Error, OSError, ValueError, MemoryError) as error:
            outcome.left_alone = True
            outcome.lines.append(f"{rule.file} is left alone: {error or type(error).__name__}")
    return outcome


def _sweep(rule: Kept) -> str:
    size = _size(rule.file)
    if size is None:
        return ""
    if size > MAX_FILE:
        return _move_away(rule.file, size)
    end = time.monotonic() + SECONDS
    uri = f"file:{rule.file}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY)) as database:
        database.set_progress_handler(lambda: time.monotonic() > end, 10_000)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
            database.execute(f"PRAGMA {pragma}")
        _check_schema(database, rule)
        count = _delete(database, rule)
        rewritten = _convert(database, rule)
        if count or rewritten:
            _shrink(database)
    said = [f"{count} old rows were deleted"] if count else []
    return "; ".join([*said, "the file of an earlier version was rewritten"] if rewritten else said)


def _size(file: str) -> int | None:
    """Return the bytes of a file and its log, or None if there is none.

    Raises:
        TrapError: it is not a plain file.
    """
    total = 0
    for name in (file, f"{file}-wal", f"{file}-shm", f"{file}-journal"):
        try:
            status = os.lstat(name)
        except FileNotFoundError:
            if name == file:
                return None
            continue
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise TrapError(f"{name} is not a file of its own, but {_kind(status)}")
        total += status.st_size
    return total


def _kind(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFDIR: "a directory",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "one with several names",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def _move_away(file: str, size: int) -> str:
    Path(file).replace(f"{file}.too-large")
    for suffix in ("-wal", "-shm"):
        Path(file + suffix).unlink(missing_ok=True)
    return f"has {size} bytes and was renamed to {file}.too-large; the next turn begins a new one"


def _check_schema(database: sqlite3.Connection, rule: Kept) -> None:
    rows = database.execute(
        "SELECT type, name FROM sqlite_master WHERE name = ? OR type = 'trigger'", (rule.table,)
    ).fetchall()
    if rows != [("table", rule.table)]:
        raise TrapError("its tables are not those of the harness")


def _delete(database: sqlite3.Connection, rule: Kept) -> int:
    """Delete old rows, and more of them while the file is too large; return their number."""
    table = rule.table
    newest = f"SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?"  # noqa: S608
    [limit] = database.execute(newest, (rule.least,)).fetchone() or (None,)
    if limit is None:
        return 0
    since, count = time.time() - rule.days * DAY, 0
    old = (
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table}"  # noqa: S608
        f" WHERE {rule.time} < ? AND id <= ? ORDER BY {rule.time} LIMIT {BATCH})"
    )
    while (deleted := database.execute(old, (since, limit)).rowcount) > 0:
        count += deleted
    oldest = (
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table}"  # noqa: S608
        f" WHERE id <= ? ORDER BY id LIMIT {BATCH})"
    )
    while _used(database) > rule.most_bytes:
        if (deleted := database.execute(oldest, (limit,)).rowcount) <= 0:
            break
        count += deleted
    return count


def _used(database: sqlite3.Connection) -> int:
    pages = _pragma(database, "page_count") - _pragma(database, "freelist_count")
    return pages * _pragma(database, "page_size")


def _convert(database: sqlite3.Connection, rule: Kept) -> bool:
    """Rewrite a file that cannot give free pages back; return whether it was done.

    Earlier versions of the harness made such files. The harness cannot write meanwhile and would
    record in memory, so it must be between turns.

    Raises:
        TrapError: its rows are too large for that.
        sqlite3.Error: it cannot be rewritten; the file is as it was.
    """
    if _pragma(database, "auto_vacuum") == INCREMENTAL or not _pragma(database, "freelist_count"):
        return False
    newest = f"SELECT max({rule.time}) FROM {rule.table}"  # noqa: S608
    [time_of_newest] = database.execute(newest).fetchone()
    if time_of_newest and time.time() - float(time_of_newest) < REST:
        return False
    if (used := _used(database)) > 2 * rule.most_bytes:
        raise TrapError(f"its newest rows have {used} bytes")
    database.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
    database.execute("VACUUM")
    return True


def _shrink(database: sqlite3.Connection) -> None:
    """Give free pages back to the file system."""
    if _pragma(database, "auto_vacuum") == INCREMENTAL:
        while _pragma(database, "freelist_count"):
            before = _pragma(database, "page_count")
            database.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
            if _pragma(database, "page_count") >= before:
                break
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])
