"""One process at a time uses a store: the broker, or what puts a backup into its place."""

import fcntl
import os
from pathlib import Path
from typing import Final

from wire.errors import CorruptStore

NAME: Final = "lock"
"""The file beside the store; it stays, and what is in it does not matter."""


def take(directory: Path) -> int:
    """Lock the store in `directory`, until the answered descriptor is closed (or the process ends).

    Raises:
        CorruptStore: somebody else has it, or there is no such directory.
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
            f"The message store in {directory} is in use, by a broker or by a restore; only one at "
            "a time may use it. To stop the broker for so long that no call starts it: systemctl "
            "mask --runtime --now hive-broker; afterwards: systemctl unmask --runtime hive-broker"
        ) from None
    return file
