"""The lock on a store: only one process uses it at a time, a broker or a restore."""

import fcntl
import os
from pathlib import Path
from typing import Final

from wire.errors import CorruptStore

NAME: Final = "lock"
"""The file beside the store. It is never removed, and is always empty."""


def take(directory: Path) -> int:
    """Lock the store in `directory`; return the descriptor that holds the lock until it is closed.

    Raises:
        CorruptStore: another process has the lock, or there is no such directory.
    """
    try:
        file = os.open(
            directory / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except FileNotFoundError:
        raise CorruptStore(
            f"The directory {directory} of the message store does not exist; "
            "start the broker by systemd (systemctl start hive-broker), which makes it."
        ) from None
    except OSError as error:
        raise CorruptStore(
            f"The lock {directory / NAME} of the message store cannot be opened: {error.strerror}; "
            "it must be a file that only the broker's user may read and write."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise CorruptStore(
            f"The message store in {directory} is in use by a broker or by a restore; only one of "
            "them can use it at a time. Stop the broker first: systemctl stop hive-broker"
        ) from None
    return file
