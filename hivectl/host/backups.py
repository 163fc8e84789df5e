"""Move a backup out of the broker's directory, as root.

The directory belongs to the broker, which is not root and may be hostile: links in it are not
followed, and only a regular file that the broker owns and that has no other name is taken.
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
    """Return the name of a backup that is made now."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.sqlite"


def check_free(target: Path) -> None:
    """Check, before the backup is made, that `target` can be created.

    Raises:
        CommandError: `target` exists, or its directory does not.
    """
    if os.path.lexists(target):
        raise _exists(target)
    if not target.parent.is_dir():
        raise CommandError(
            Exit.NOT_FOUND, f"The directory {target.parent} does not exist. Create it first."
        )


def move(source: Path, target: Path, directory: Path = DIRECTORY) -> Path:
    """Move `source`, which lies in the broker's `directory`, to `target`, which must not exist.

    A failure leaves the source, and no target.

    Returns:
        The absolute path of the target, which is on disk and has the mode 0600.

    Raises:
        CommandError: the source is not a file that a broker makes, or the target cannot be written.
    """
    if source.parent != directory:
        raise CommandError(
            Exit.FAILED,
            f"The broker's backup {source} is not in {directory}; nothing was moved.",
        )
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
            Exit.FAILED, f"The backup could not be moved to {target}: {error.strerror}."
        ) from error
    return target.absolute()


def _open_source(name: str, inside: int) -> int:
    # Non-blocking: the name may be that of a pipe.
    reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _NO_LINK, dir_fd=inside)
    found, owner = os.fstat(reading), os.fstat(inside).st_uid
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != owner:
        os.close(reading)
        raise CommandError(
            Exit.FAILED,
            f"The backup {name} is not a regular file of the broker's user with one link; "
            "nothing was moved.",
        )
    return reading


def _write(copy: BinaryIO, target: Path) -> None:
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    except FileExistsError:
        raise _exists(target) from None
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


def _exists(target: Path) -> CommandError:
    return CommandError(
        Exit.CONFLICT, f"{target} already exists, and is not overwritten. Give another FILE."
    )
