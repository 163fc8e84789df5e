"""Migration of an sqlite file of an older version; a copy of the old file stays beside it.

    _STEPS = ("CREATE TABLE ...", "ALTER TABLE ...")  # each version from the one before it
    db = sqlite3.connect(path, isolation_level=None)
    migration.migrate(db, path, _STEPS)

The marker is `PRAGMA user_version`: the number of completed steps. It changes in the one
transaction of all steps, so a service that is killed at any point finds, at the next start, the old
file or the new one. A step that has landed is never edited: nothing would tell which files had the
earlier one.
"""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from wire.errors import CorruptStore

COPIED: Final = 4096
"""Pages that are copied between two calls of `alive`."""


def migrate(
    db: sqlite3.Connection,
    path: Path,
    steps: Sequence[str],
    *,
    application: int = 0,
    alive: Callable[[], None] = lambda: None,
) -> None:
    """Apply to `db`, the file at `path`, the steps that it has not seen yet.

    A file that has seen some, but not all, is copied to `NAME.vN` first, where N is its version.
    The copy is complete when it has that name. It is readable by its owner alone, and replaces an
    earlier copy. A new (empty) file is not copied.

    Args:
        db: a connection without a transaction.
        path: the file of `db`.
        steps: SQL without BEGIN and COMMIT; the first one makes version 1 from nothing.
        application: the `PRAGMA application_id` to set.
        alive: called now and then while the copy is made.

    Raises:
        CorruptStore: the file is of a version with more steps. It was not changed.
        sqlite3.Error: A step failed. The file was not changed.
        OSError: the copy could not be made, as a rule for want of space. The file was not changed.
    """
    version = version_of(db)
    if version > len(steps):
        raise CorruptStore(
            f"{path} was written by a newer Hyperhive (version {version}; this one knows up to "
            f"{len(steps)}); nothing was changed. Install that version again, or move the file "
            "away."
        )
    if 0 < version < len(steps):
        keep(db, path, alive)
    if version < len(steps):
        marks = f"PRAGMA application_id = {application}; PRAGMA user_version = {len(steps)};"
        _run(db, "\n;\n".join([*steps[version:], marks]))


def version_of(db: sqlite3.Connection) -> int:
    """Return how many steps the file has seen; 0: it is new."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _run(db: sqlite3.Connection, script: str) -> None:
    """Run all of `script` or nothing of it."""
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def keep(db: sqlite3.Connection, path: Path, alive: Callable[[], None] = lambda: None) -> Path:
    """Copy the file, including pages that are only in its log, and return the path of the copy.

    Raises:
        sqlite3.Error: The file could not be read, or the copy not written. No copy is left.
        OSError: as above.
    """
    kept = path.with_name(f"{path.name}.v{version_of(db)}")
    part = kept.with_name(f"{kept.name}.part")
    try:
        part.unlink(missing_ok=True)
        file = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            copy = sqlite3.connect(f"{part.absolute().as_uri()}?mode=rw", uri=True)
            with closing(copy):
                # A kill would leave the copy's journal behind, and that would spoil the next try.
                copy.execute("PRAGMA journal_mode = OFF")
                db.backup(copy, pages=COPIED, progress=lambda *_: alive())
            os.fsync(file)
        finally:
            os.close(file)
        # The copy has its name when it is complete, and not before.
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
