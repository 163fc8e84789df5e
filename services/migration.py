"""An sqlite file of an older version becomes one of today's; a copy of it stays beside it.

    _STEPS = ("CREATE TABLE ...", "ALTER TABLE ...")  # each version from the one before it
    db = sqlite3.connect(path, isolation_level=None)
    migration.migrate(db, path, _STEPS)

The marker is `PRAGMA user_version`: the number of steps that were done. It changes in the one
transaction of them all, so whoever is killed at any point finds, at the next start, the file as it
was or as it should be. A step that has landed is never edited: nothing would tell who had the
earlier one.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from wire.errors import CorruptStore

_COPIED: Final = 4096
"""Pages that are copied between two signs of life."""


def migrate(
    db: sqlite3.Connection,
    path: Path,
    steps: Sequence[str],
    *,
    application: int = 0,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Take `db`, the file at `path`, through the steps that it has not seen yet.

    A file that has seen some, but not all, is copied to `NAME.vN` first, N being its version.
    The copy is complete when it has that name, for the owner alone, and takes the place of an
    earlier one. A new (empty) file is just made.

    Args:
        db: in no transaction.
        steps: SQL without BEGIN and COMMIT; the first one makes version 1 from nothing.
        application: what `PRAGMA application_id` becomes.
        alive: called now and then while the copy is made.

    Raises:
        CorruptStore: the file is of a version that has more steps. It was not changed.
        sqlite3.Error: a step failed. The file is what it was.
        OSError: there is no copy, for want of room as a rule, so nothing was changed.
    """
    version = version_of(db)
    if version > len(steps):
        raise CorruptStore(
            f"{path} was written by a newer Hyperhive (version {version}, this one knows up to "
            f"{len(steps)}). Nothing was changed. Install that version again, or move it away."
        )
    if 0 < version < len(steps):
        keep(db, path, alive)
    if version < len(steps):
        marks = f"PRAGMA application_id = {application}; PRAGMA user_version = {len(steps)};"
        _run(db, "\n;\n".join([*steps[version:], marks]))


def version_of(db: sqlite3.Connection) -> int:
    """How many steps the file has seen; 0: it is new."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _run(db: sqlite3.Connection, script: str) -> None:
    """All of it or nothing."""
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def keep(db: sqlite3.Connection, path: Path, alive: Callable[[], None] = lambda: None) -> Path:
    """Copy the file, what is only in its log included, for the way back; returns where it is.

    Raises sqlite3.Error or OSError, and leaves nothing, when that cannot be done.
    """
    kept = path.with_name(f"{path.name}.v{version_of(db)}")
    part = kept.with_name(f"{kept.name}.part")
    try:
        part.unlink(missing_ok=True)
        file = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            copy = sqlite3.connect(f"{part.absolute().as_uri()}?mode=rw", uri=True)
            with closing(copy):
                # A journal of its own would be left behind by a kill, and spoil the next try.
                copy.execute("PRAGMA journal_mode = OFF")
                db.backup(copy, pages=_COPIED, progress=lambda *_: alive())
            os.fsync(file)
        finally:
            os.close(file)
        # Whole, or not there.
        part.rename(kept)
        _sync_directory(path.parent)
    finally:
        part.unlink(missing_ok=True)
    return kept


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
