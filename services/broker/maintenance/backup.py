"""Backups: copies of the store, made while it is in use."""

import asyncio
import os
import re
import sqlite3
from pathlib import Path
from typing import Final

from wire.errors import AlreadyExists, InvalidArgument, Stopping, Unavailable

DIRECTORY: Final = "backups"
"""The directory of the backups, beside the store."""
PART: Final = ".part"
"""The end of the name of an unfinished file."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9_-]{1,32}){0,3}")


class Backups:
    """Makes one backup at a time, in a thread of its own, so that sending and reading go on."""

    def __init__(self, store: Path) -> None:
        """Remove unfinished backups of `store` that an earlier, killed broker left."""
        self._store = store
        self._directory = store.parent / DIRECTORY
        self._one = asyncio.Lock()
        self._reading: sqlite3.Connection | None = None
        self._stopping = False
        for part in self._directory.glob(f"*{PART}*"):
            part.unlink(missing_ok=True)

    def stop(self) -> None:
        """End the running backup; its caller gets Stopping."""
        self._stopping = True
        if self._reading is not None:
            self._reading.interrupt()

    async def make(self, name: str) -> Path:
        """Copy the store as it is now to the file `name` in DIRECTORY; return the file's path.

        The backup is one file, without free pages. It is complete and on disk, or does not exist.

        Raises:
            AlreadyExists: there is a backup of this name.
            InvalidArgument: the name is not valid.
            Stopping: `stop` was called.
            Unavailable: the backup could not be written.
        """
        if not _NAME.fullmatch(name) or PART in name:
            raise InvalidArgument(
                f"{name[:64]!r} is not a valid name for a backup in {self._directory}: use "
                "letters, digits, _ and -, and optionally a suffix such as .sqlite."
            )
        async with self._one:
            return await asyncio.to_thread(self._make, self._directory / name)

    def _make(self, target: Path) -> Path:
        part = target.with_name(f"{target.name}{PART}")
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if os.path.lexists(target):
                raise AlreadyExists(
                    f"{target} already exists, and is not overwritten. Choose another name."
                )
            try:
                self._write(part)
                part.rename(target)
                sync(self._directory)
            finally:
                part.unlink(missing_ok=True)
        except (sqlite3.Error, OSError) as error:
            if self._stopping:
                raise Stopping("The broker is stopping; try again.") from None
            raise Unavailable(
                f"The backup {target} could not be written: {error}; it was removed. "
                f"Check the disk (df {self._directory}), then try again."
            ) from error
        return target

    def _write(self, part: Path) -> None:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        db = sqlite3.connect(
            f"{self._store.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self._reading = db
        try:
            if self._stopping:
                raise InterruptedError
            # In one transaction, so that the copy is the store at one moment.
            db.execute("VACUUM INTO ?", (str(part),))
        finally:
            self._reading = None
            db.close()
        sync(part)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on disk."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(file)
    finally:
        os.close(file)
