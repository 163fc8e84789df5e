"""The sqlite file: opened only when it is whole, ours, and of a version we know.

Whatever is wrong with it, it is left exactly as it was found: a damaged store is evidence, and
the operator decides whether to restore a backup or to move it away.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from services import migration
from wire.errors import CorruptStore

VERSION: Final = 3
APPLICATION_ID: Final = 0x48495645  # "HIVE"

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
"""N.sql makes version N from the one before it."""

MAGIC: Final = b"SQLite format 3\0"
_FULL_CHECK_BYTES: Final = 256 * 2**20
"""Up to this size (about a million messages, a second) the whole file is checked on each start."""
PROGRESS_STEPS: Final = 100_000
"""Steps of sqlite's machine between two signs of life; some milliseconds."""


def connect(path: Path, alive: Callable[[], None] = lambda: None) -> sqlite3.Connection:
    """The checked store at `path` for writing; made when there is none.

    An older one is migrated, and a copy of it as it was stays beside it as `NAME.vN`.

    Args:
        path: its directory must exist.
        alive: called now and then as long as it goes on; a large store takes its time.

    Raises:
        CorruptStore: it cannot be used; the sentence says why, and what to do. It is untouched.
    """
    _check_file(path)
    if path.exists() and path.stat().st_size > 0:
        _check_content(path, alive)
    try:
        db = _open(f"{path.absolute().as_uri()}?mode=rwc")
        try:
            with _telling(db, alive):
                _prepare(path, db, alive)
        except (sqlite3.Error, OSError):
            db.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise CorruptStore(f"The message store {path} cannot be opened: {error}.") from error
    return db


def check(path: Path) -> None:
    """Look at all of the store at `path`, of whatever size, without changing it.

    Raises:
        CorruptStore: it is damaged, not ours, or of a version that we do not know.
    """
    _check_file(path)
    _check_content(path, lambda: None, whole=True)


def check_shape(path: Path) -> None:
    """See that the store at `path`, which `check` has passed, has our tables and nothing else.

    For a file that comes from elsewhere: its triggers and views would be run.

    Raises:
        CorruptStore: it has others.
    """
    with (
        closing(_open(f"{path.absolute().as_uri()}?mode=ro")) as db,
        closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh,
    ):
        migration.migrate(fresh, path, steps()[: migration.version_of(db)])
        if different := shape(db) ^ shape(fresh):
            names = ", ".join(sorted({repr(name) for _, name, _, _ in different})[:3])
            raise _damaged(path, f"it is not made as ours are, see {names}")


def shape(db: sqlite3.Connection) -> set[tuple[str, str, str, str]]:
    """What is in the store, in SQL, without what sqlite adds by itself."""
    rows = db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL "
        "AND (type <> 'table' OR name NOT IN ('sqlite_sequence', 'sqlite_stat1', 'sqlite_stat4'))"
    )
    return {(kind, name[:64], table, sql) for kind, name, table, sql in rows}


@contextmanager
def _telling(db: sqlite3.Connection, alive: Callable[[], None]) -> Iterator[None]:
    """Call `alive` while `db` is at work."""
    db.set_progress_handler(alive, PROGRESS_STEPS)
    try:
        yield
    finally:
        db.set_progress_handler(None, 0)


def _prepare(path: Path, db: sqlite3.Connection, alive: Callable[[], None]) -> None:
    # Readers go on while it is written to, and a commit is one fsync.
    db.execute("PRAGMA journal_mode = WAL")
    # The promise of Send: on disk before it returns, even if the power fails.
    db.execute("PRAGMA synchronous = FULL")
    # After a long burst the log is cut back to this size.
    db.execute(f"PRAGMA journal_size_limit = {64 * 2**20}")
    migration.migrate(db, path, steps(), application=APPLICATION_ID, alive=alive)


def steps() -> list[str]:
    """What makes each version from the one before it, in SQL."""
    return [(_MIGRATIONS / f"{number}.sql").read_text() for number in range(1, VERSION + 1)]


def connect_reader(path: Path) -> sqlite3.Connection:
    """A second connection that only reads; the store must have been opened by `connect`."""
    return _open(f"{path.absolute().as_uri()}?mode=ro")


def _open(uri: str) -> sqlite3.Connection:
    # Each connection is used by one thread at a time, though not by the one that opens it.
    # No isolation level: transactions are begun and ended by us alone.
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _check_file(path: Path) -> None:
    """What can be said without sqlite; sqlite would answer with nothing but a number."""
    if not path.parent.is_dir():
        raise CorruptStore(
            f"The directory {path.parent} of the message store does not exist; "
            "start the broker by systemd (systemctl start hive-broker), which makes it."
        )
    try:
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise CorruptStore(
                f"The message store {path} belongs to uid {status.st_uid}, but the broker runs as "
                f"uid {os.geteuid()}; give it back with chown and start hive-broker again."
            )
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise CorruptStore(
            f"The message store {path} cannot be read: {error.strerror}; "
            "it must be a file that only the broker's user may read and write."
        ) from error
    if head and head != MAGIC:
        raise _damaged(path, "it is no sqlite file")


def _check_content(path: Path, alive: Callable[[], None], *, whole: bool = False) -> None:
    """Look at the store through a connection that cannot write."""
    sides = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    made = [side for side in sides if not side.exists()]
    try:
        db = _open(f"{path.absolute().as_uri()}?mode=ro")
        try:
            with _telling(db, alive):
                _check_version(path, db)
                _check_pages(path, db, whole=whole)
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    finally:
        # A reader leaves its empty log and index behind.
        for side in made:
            side.unlink(missing_ok=True)


def _check_version(path: Path, db: sqlite3.Connection) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version == 0 and tables == 0:
        return  # A broker was killed while it made the file.
    if application != APPLICATION_ID:
        raise _damaged(path, "it is a sqlite file of something else")
    if version > VERSION:
        raise CorruptStore(
            f"The message store {path} was written by a newer Hyperhive (schema {version}, this "
            f"one knows up to {VERSION}); install that version again, or move the file away."
        )


def _check_pages(path: Path, db: sqlite3.Connection, *, whole: bool) -> None:
    """Check everything while that is quick; of a large store only what every call relies on.

    The rest of a large one is found damaged when it is read: that call is answered with an
    error, and nothing is overwritten.
    """
    whole = whole or path.stat().st_size <= _FULL_CHECK_BYTES
    (result,) = db.execute(f"PRAGMA quick_check({1 if whole else 'agent'})").fetchone()
    if result != "ok":
        raise _damaged(path, " ".join(result.split()))


def _damaged(path: Path, reason: str) -> CorruptStore:
    return CorruptStore(
        f"The message store {path} is damaged ({reason}); nothing was changed. Restore it from a "
        "backup, or move it away with its -wal and -shm files to start empty, "
        "then: systemctl restart hive-broker"
    )
