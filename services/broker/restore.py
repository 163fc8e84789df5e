"""Replace the store by a backup: `python -m services.broker.restore FILE`.

It is run by root (`hivectl restore` runs it) or by the broker's user, while no broker runs. Root
drops its privileges as soon as FILE is open: everything else is done as the owner of the store's
directory, who could otherwise use links to make root write elsewhere. Nothing of FILE is copied
before its header shows that it is a message store.

If it is killed at any point, the store is the old one or the new one.
"""

import os
import shutil
import sqlite3
import stat
import struct
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from services import sqlite
from services.broker.maintenance import backup
from services.broker.storage import lock, schema
from services.broker.storage.database import FILE
from services.directories import state_directory
from wire.errors import (
    Conflict,
    CorruptStore,
    HiveError,
    InvalidArgument,
    NotFound,
    Unavailable,
)

_HEADER: Final = 100
"""Bytes of the header of a sqlite file."""
_MODE_AT: Final = 18
_WITH_LOG: Final = 2
"""The byte there if the file has a log."""
_APPLICATION_AT: Final = 68
_LOG_MAGIC: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def main(arguments: Sequence[str]) -> int:
    """Restore the file that the only argument names; return the exit status."""
    os.umask(0o077)
    try:
        if len(arguments) != 1:
            raise InvalidArgument("Usage: python -m services.broker.restore FILE")
        file, directory = Path(arguments[0]), state_directory("broker")
        kept = restore(file, directory)
    except HiveError as error:
        print(error, file=sys.stderr)  # noqa: T201 - it talks to a terminal
        return _EXITS.get(type(error), 1)
    old = f"the old store is kept as {kept}" if kept else "there was no store before"
    print(  # noqa: T201
        f"{file} was restored as the message store; {old}. Start the broker again: systemctl start "
        "hive-broker (after a stop of the whole hive: systemctl start hive.target)"
    )
    return 0


_EXITS: Final[dict[type[HiveError], int]] = {InvalidArgument: 2, NotFound: 3, Conflict: 6}
"""The exit statuses of hivectl."""


def restore(file: Path, directory: Path) -> Path | None:
    """Make a copy of `file` the store in `directory`; the process becomes the directory's owner.

    A log (FILE-wal) beside the file belongs to it, if the file has one.

    Returns:
        The path of the old store, or None if there was none.

    Raises:
        Conflict: a broker runs.
        CorruptStore: the file is not a message store, damaged, or of an unknown version.
        NotFound: there is no such file, or no such directory.
        Unavailable: the file could not be copied.
        In all cases the store is unchanged.
    """
    with ExitStack() as stack:
        source = stack.enter_context(_opened(file))
        _check_header(file, source)
        log = _opened_log(file, source, stack)
        _become_owner(directory)
        try:
            stack.callback(os.close, lock.take(directory))
        except CorruptStore as error:
            raise Conflict(str(error)) from None
        try:
            part = _prepared(file, source, log, directory)
            return _swap(directory / FILE, part)
        except (OSError, sqlite3.OperationalError) as error:
            raise Unavailable(
                f"{file} could not be restored: {error}; the store is unchanged. "
                f"Check the disk (df {directory}), then try again."
            ) from error


def _opened(file: Path) -> BinaryIO:
    """Open a regular file: no link, no device, and nothing that opening would wait for."""
    try:
        opened = os.fdopen(
            os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        )
    except FileNotFoundError:
        raise NotFound(f"{file} does not exist.") from None
    except OSError as error:
        raise CorruptStore(
            f"{file} cannot be read: {error.strerror}; name the file itself, not a link."
        ) from error
    if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
        opened.close()
        raise CorruptStore(f"{file} is not a regular file; name the backup itself.")
    return opened


def _check_header(file: Path, source: BinaryIO) -> None:
    """Check that the file is a message store: root must not copy its secrets to the broker."""
    head = source.read(_HEADER)
    source.seek(0)
    known = len(head) == _HEADER and head.startswith(sqlite.MAGIC)
    if not known or struct.unpack_from(">I", head, _APPLICATION_AT)[0] != schema.FORMAT.application:
        raise CorruptStore(f"{file} is not a message store; name a backup made by the broker.")


def _opened_log(file: Path, source: BinaryIO, stack: ExitStack) -> BinaryIO | None:
    """Open the log of the file: a store that was copied while it was in use has one.

    The log decides what is restored. So another user cannot put one beside a backup, in /tmp for
    example.
    """
    path = file.with_name(f"{file.name}-wal")
    if os.pread(source.fileno(), 1, _MODE_AT) != bytes([_WITH_LOG]):
        return None
    try:
        log = stack.enter_context(_opened(path))
    except NotFound:
        return None
    if os.fstat(log.fileno()).st_uid != os.fstat(source.fileno()).st_uid:
        raise CorruptStore(
            f"{path} belongs to another user than {file}, so it is not the write-ahead log of that "
            "file. Move it away, and try again."
        )
    magic = log.read(4)
    log.seek(0)
    if magic and magic not in _LOG_MAGIC:
        raise CorruptStore(
            f"{path} is not a valid write-ahead log of {file}. Move it away, and try again."
        )
    return log


def _become_owner(directory: Path) -> None:
    try:
        status = directory.lstat()
    except FileNotFoundError:
        raise NotFound(
            f"The directory {directory} does not exist; start the broker once "
            "(systemctl start hive-broker), which makes it, stop it and try again."
        ) from None
    if os.geteuid() == 0 and status.st_uid != 0:
        os.setgroups([])
        os.setresgid(status.st_gid, status.st_gid, status.st_gid)
        os.setresuid(status.st_uid, status.st_uid, status.st_uid)


def _prepared(file: Path, source: BinaryIO, log: BinaryIO | None, directory: Path) -> Path:
    """Make a checked copy among the backups, where the broker removes unfinished files."""
    part = directory / backup.DIRECTORY / f"restore{backup.PART}"
    part.parent.mkdir(mode=0o700, exist_ok=True)
    for suffix in ("", "-wal", "-shm", "-journal"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
    try:
        _copy(source, part)
        if log is not None:
            _copy(log, part.with_name(f"{part.name}-wal"))
        _fold(part, "DELETE")
        schema.check(part)
        schema.check_shape(part)
        backup.sync(part)
    except (sqlite3.DatabaseError, CorruptStore) as error:
        part.unlink(missing_ok=True)
        if isinstance(error, sqlite3.OperationalError):
            raise
        reason = str(error).replace(str(part), str(file)).partition(";")[0]
        raise CorruptStore(
            f"{file} cannot be restored: {reason}. The store is unchanged."
        ) from error
    except OSError:
        part.unlink(missing_ok=True)
        raise
    return part


def _copy(source: BinaryIO, target: Path) -> None:
    with os.fdopen(
        os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb"
    ) as copy:
        shutil.copyfileobj(source, copy, 2**20)


def _fold(store: Path, mode: str) -> None:
    """Fold the log into the store, so that the store is one file."""
    with closing(sqlite3.connect(store, isolation_level=None)) as db:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise Unavailable(f"Another process reads {store}; stop that process, and try again.")
        db.execute(f"PRAGMA journal_mode = {mode}")


def _swap(store: Path, part: Path) -> Path | None:
    """Replace `store` by `part` in one step; the old store gets a second name before."""
    log = store.with_name(f"{store.name}-wal")
    kept = store.with_name(f"{store.name}.before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}")
    if store.exists():
        try:
            schema.check(store)
            _fold(store, "WAL")
        except (CorruptStore, sqlite3.DatabaseError):
            pass  # The old store is damaged: keep it unchanged, with its log.
        os.link(store, kept, follow_symlinks=False)
    # The old log must be gone before the new store is there: sqlite would apply it to that one.
    # Only a damaged store still has a log here; the log is kept beside it.
    if log.exists():
        log.rename(kept.with_name(f"{kept.name}-wal"))
    store.with_name(f"{store.name}-shm").unlink(missing_ok=True)
    backup.sync(store.parent)
    part.rename(store)
    backup.sync(store.parent)
    return kept if kept.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
