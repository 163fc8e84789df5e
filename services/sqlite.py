"""Opening a room's sqlite file: only when it is whole, ours, and of a version that we know.

    FORMAT = StoreFormat("list of agents", "hive-lifecycle", _STEPS)
    db = sqlite.open_store(path, FORMAT)
    with sqlite.transaction(db): ...

A file that cannot be used is left exactly as it was found: a damaged store is evidence, and the
operator decides whether to restore a backup or to move the file away. A store of an older version
is migrated, and a copy of it stays beside it: services/migration.py.
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services import migration
from services.errors import DiskFull
from wire.errors import CorruptStore, Unavailable

MAGIC: Final = b"SQLite format 3\0"
"""The first bytes of every sqlite file."""

FULL_CHECK_BYTES: Final = 256 * 2**20
"""Size in bytes up to which the whole file is checked on each start; that takes about a second."""

LOG_BYTES: Final = 64 * 2**20
"""Size in bytes to which the write-ahead log is cut back after a long burst."""

SPARE_BYTES: Final = 2**20
"""The room in bytes below which a disk counts as full, when sqlite cannot open a store."""

TICK: Final = 100_000
"""Steps of sqlite's virtual machine between two calls of `alive`; some milliseconds."""

Alive = Callable[[], None]
"""Called now and then while the store is opened, which takes its time when it is large."""


@dataclass(frozen=True, slots=True)
class StoreFormat:
    """One room's kind of store, and the words for it."""

    what: str
    """The store in a sentence, after "The": "message store"."""
    unit: str
    """The unit that owns it, without a suffix: "hive-broker"."""
    steps: Sequence[str]
    """SQL that makes each version from the one before it; the first one from nothing."""
    application: int = 0
    """Its `PRAGMA application_id`; 0: it has none, and is known by its tables."""
    quick_table: str | None = None
    """In a file larger than FULL_CHECK_BYTES only this table is checked; None: always all."""
    remedy: str = ""
    """Sentence that says what to do about a damaged file; empty: the usual one."""

    @property
    def version(self) -> int:
        """The version that this Hyperhive writes."""
        return len(self.steps)

    def refusal(self, path: Path, reason: str) -> CorruptStore:
        """Return the error for a file that cannot be used; `reason` continues "The store PATH"."""
        remedy = self.remedy or (
            "Restore it from a backup, or move it away with its -wal and -shm files to start "
            f"empty; then run: systemctl restart {self.unit}"
        )
        return CorruptStore(f"The {self.what} {path} {reason}; nothing was changed. {remedy}")

    def unavailable(self, path: Path, error: Exception) -> Unavailable:
        """Return the error for a store that could not be read or written just now."""
        return Unavailable(
            f"The {self.what} {path} could not be used: {error}; nothing was changed. "
            f"Check the disk (df, journalctl -u {self.unit}), then try again."
        )


def open_store(
    path: Path, fmt: StoreFormat, *, alive: Alive | None = None, threads: bool = False
) -> sqlite3.Connection:
    """Check and migrate the store at `path`, or make it; return a connection that writes.

    No transaction is begun implicitly: use `transaction`. A commit is on the disk when it returns.
    Rows are `sqlite3.Row`: read them by the names of their columns.

    Args:
        path: its directory must exist.
        threads: whether a thread other than the caller's uses the connection; one at a time may.

    Raises:
        CorruptStore: it cannot be used; the sentence says why and what to do. It is untouched.
        DiskFull: there is no room for the files that sqlite needs beside it.
    """
    _check_file(path, fmt)
    if path.exists() and path.stat().st_size > 0:
        _check_content(path, fmt, alive, whole=False)
    try:
        db = _connect(path, "rwc", threads=threads)
        try:
            with _calling(db, alive):
                _prepare(db, path, fmt, alive)
        except BaseException:
            db.close()
            raise
    except (sqlite3.Error, OSError) as error:
        _check_room(path, fmt, error)
        raise fmt.refusal(path, f"cannot be opened: {error}") from error
    return db


def open_reader(path: Path, *, threads: bool = False) -> sqlite3.Connection:
    """Open a second connection that only reads; `open_store` must have opened the file before."""
    return _connect(path, "ro", threads=threads)


def open_quick_writer(path: Path, *, threads: bool = False) -> sqlite3.Connection:
    """Open a second connection that writes; `open_store` must have opened the file before.

    A commit is not on the disk when it returns: it outlives the process, and is on the disk with
    the next commit of the first connection. The caller's thread must not have transactions on both.
    """
    db = _connect(path, "rw", threads=threads)
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def check(path: Path, fmt: StoreFormat) -> None:
    """Check the whole store at `path`, however large, without changing it.

    Raises:
        CorruptStore: it is damaged, another program's, or of a version that we do not know.
    """
    _check_file(path, fmt)
    _check_content(path, fmt, None, whole=True)


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, all of it or, when that raises, nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # Some errors, such as a full disk, have already ended it.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _connect(path: Path, mode: str, *, threads: bool) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=not threads)
    db.row_factory = sqlite3.Row
    return db


def _prepare(db: sqlite3.Connection, path: Path, fmt: StoreFormat, alive: Alive | None) -> None:
    # Readers go on while it is written to, and a commit is one fsync.
    db.execute("PRAGMA journal_mode = WAL")
    # On the disk before a commit returns, even if the power fails.
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    application = fmt.application
    migration.migrate(db, path, fmt.steps, application=application, alive=alive or (lambda: None))


@contextmanager
def _calling(db: sqlite3.Connection, alive: Alive | None) -> Iterator[None]:
    """Call `alive` while `db` is at work."""
    db.set_progress_handler(alive, TICK)
    try:
        yield
    finally:
        db.set_progress_handler(None, 0)


def _check_file(path: Path, fmt: StoreFormat) -> None:
    """Check what can be checked without sqlite, whose own errors do not name the cause."""
    if not path.parent.is_dir():
        raise CorruptStore(
            f"The directory {path.parent} of the {fmt.what} does not exist; "
            f"systemd makes it when it starts the service: systemctl start {fmt.unit}"
        )
    try:
        owner, own = path.stat().st_uid, os.geteuid()
        if owner != own:
            raise CorruptStore(
                f"The {fmt.what} {path} belongs to uid {owner}, but {fmt.unit} runs as uid "
                f"{own}; change its owner with chown, then run: systemctl restart {fmt.unit}"
            )
        with path.open("rb") as file:
            head = file.read(len(MAGIC))
    except FileNotFoundError:
        return
    except OSError as error:
        raise CorruptStore(
            f"The {fmt.what} {path} cannot be read: {error.strerror}; "
            f"it must be a file that only the user of {fmt.unit} may read and write."
        ) from error
    if head and head != MAGIC:
        raise fmt.refusal(path, "is not an sqlite file")


def _check_content(path: Path, fmt: StoreFormat, alive: Alive | None, *, whole: bool) -> None:
    """Look at the store through a connection that cannot write."""
    sides = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    made = [side for side in sides if not side.exists()]
    try:
        with closing(_connect(path, "ro", threads=False)) as db, _calling(db, alive):
            _check_version(db, path, fmt)
            _check_pages(db, path, fmt, whole=whole)
    except sqlite3.DatabaseError as error:
        _check_room(path, fmt, error)
        raise fmt.refusal(path, f"is damaged ({error})") from error
    finally:
        # A reader leaves its empty log and index behind.
        for side in made:
            side.unlink(missing_ok=True)


def _check_room(path: Path, fmt: StoreFormat, error: sqlite3.Error | OSError) -> None:
    """Check that it is not a full disk for which a store could not be opened.

    Raises:
        DiskFull: it is; sqlite calls that an I/O error as a rule.
    """
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, sqlite3.OperationalError):
        disk = os.statvfs(path.parent)
        full = disk.f_bavail * disk.f_frsize < SPARE_BYTES
    if full:
        raise DiskFull(
            f"The {fmt.what} {path} cannot be opened, because the disk is full ({error}); nothing "
            f"was changed. Make room: then {fmt.unit} starts by itself."
        ) from error


def _check_version(db: sqlite3.Connection, path: Path, fmt: StoreFormat) -> None:
    version = migration.version_of(db)
    (application,) = db.execute("PRAGMA application_id").fetchone()
    tables = _tables(db)
    if version == 0 and not tables:
        return  # its maker was killed before it had made anything
    if fmt.application and application != fmt.application:
        raise fmt.refusal(path, "is an sqlite file of another program")
    if version > fmt.version:
        raise CorruptStore(
            f"The {fmt.what} {path} was written by a newer Hyperhive (version {version}; this "
            f"one knows up to {fmt.version}); nothing was changed. Install that version again, "
            "or move the file away."
        )
    # A store that has our application id is ours, whatever tables its version lacked at first.
    known = fmt.application or _tables_of(fmt, version) <= tables
    if version == 0 or not known:
        raise fmt.refusal(path, "is an sqlite file of another program")


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def _tables_of(fmt: StoreFormat, version: int) -> set[str]:
    """Return the tables that a store of `version` has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migration.migrate(fresh, Path(), fmt.steps[:version])
        return _tables(fresh)


def _check_pages(db: sqlite3.Connection, path: Path, fmt: StoreFormat, *, whole: bool) -> None:
    """Check everything while that is quick; of a large store only what every call relies on.

    Damage elsewhere in a large store is found when it is read: that call is answered with an
    error, and nothing is overwritten.
    """
    whole = whole or fmt.quick_table is None or path.stat().st_size <= FULL_CHECK_BYTES
    (result,) = db.execute(f"PRAGMA quick_check({1 if whole else fmt.quick_table})").fetchone()
    if result != "ok":
        raise fmt.refusal(path, f"is damaged ({' '.join(result.split())})")
