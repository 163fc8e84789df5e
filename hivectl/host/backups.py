"""Moving a copy of the store out of the broker's directory, as root.

The directory belongs to the broker, which is not root: nothing in it is followed, and only a
plain file of the broker's own, with no other name, is taken.
"""

import contextlib
import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from hivectl.exit_codes import CommandError, Exit

DIRECTORY: Final = Path("/var/lib/hyperhive/broker/backups")

_NO_LINK: Final = os.O_NOFOLLOW | os.O_CLOEXEC


def new_name() -> str:
    """The name of a copy that is made now."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.sqlite"


def check_free(target: Path) -> None:
    """Raise CommandError when nothing can be written to `target`, before there is a copy."""
    if os.path.lexists(target):
        raise _taken(target)
    if not target.parent.is_dir():
        raise CommandError(Exit.NOT_FOUND, f"There is no directory {target.parent}.")


def move(source: Path, target: Path, directory: Path = DIRECTORY) -> Path:
    """Move `source`, which lies in the broker's `directory`, to `target`, which must not exist.

    Returns where it is now: mode 0600, and on disk. A failure leaves nothing there, and the source.

    Raises:
        CommandError: the source is not what a broker makes, or the target cannot be written.
    """
    if source.parent != directory:
        raise CommandError(Exit.FAILED, f"The broker says that the copy is {source}: not taken.")
    try:
        inside = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
        try:
            with os.fdopen(_open_source(source.name, inside), "rb") as copy:
                _write(copy, target)
            os.unlink(source.name, dir_fd=inside)
        finally:
            os.close(inside)
    except OSError as error:
        raise CommandError(
            Exit.FAILED, f"The copy could not be moved to {target}: {error.strerror}."
        ) from error
    return target.absolute()


def _open_source(name: str, inside: int) -> int:
    # Not blocking: it may be a pipe.
    reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK, dir_fd=inside)
    found, owner = os.fstat(reading), os.fstat(inside).st_uid
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != owner:
        os.close(reading)
        raise CommandError(Exit.FAILED, f"{name} is no plain file of the broker's: not taken.")
    return reading


def _write(copy: BinaryIO, target: Path) -> None:
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    except FileExistsError:
        raise _taken(target) from None
    try:
        with os.fdopen(writing, "wb") as made:
            shutil.copyfileobj(copy, made, 1024 * 1024)
            made.flush()
            os.fsync(made.fileno())
        _sync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise


def _sync(directory: Path) -> None:
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _taken(target: Path) -> CommandError:
    return CommandError(Exit.CONFLICT, f"{target} exists; a backup overwrites nothing.")
