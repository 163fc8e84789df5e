"""Reading a file of the agent; a pipe or a link in its place does not block the harness."""

import logging
import os
import stat
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

MAX_BYTES: Final = 32 * 1024
"""Bytes that are read; AGENTS.md is in every request of the model."""

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read(path: Path, limit: int = MAX_BYTES) -> str:
    """Return the text of a regular file; empty if there is none or it cannot be read.

    A longer text is cut, and says so.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return ""
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            log.warning("%s cannot be read: it is not a regular file", path)
            return ""
        text = os.read(descriptor, limit).decode(errors="replace").strip()
    except OSError as error:
        log.warning("%s cannot be read: %s", path, error.strerror)
        return ""
    finally:
        os.close(descriptor)
    if status.st_size > limit:
        text += f"\n[cut here: the file has {status.st_size} bytes, and {limit} are read]"
    return text
