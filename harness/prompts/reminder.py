"""The file that a due reminder names. It is opened only here, in the container.

The agent gave the path to the broker some time ago, and anything may be there now: no component of
the path may be a symbolic link, and only a regular file is read.
"""

import os
import re
import stat
from pathlib import Path
from typing import Final

from harness.hive_client import Message

KIND: Final = "reminder"
SENDER: Final = "system"

ROOT: Final = "/state/"
"""The beginning of each path; the harness knows which directory it stands for."""

MAX_BYTES: Final = 100_000
"""Bytes of a file in the prompt; more would fill the model's context."""

_SECOND_LINE: Final = re.compile(rf"[^\n]*\nFile: ({re.escape(ROOT)}[^\n]+)")
"""The broker's own line. The agent's text comes later, and may look the same."""

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def file_of(message: Message) -> str | None:
    """Return the path that a due reminder names; None if `message` is not one or names no file."""
    if message.kind != KIND or message.sender != SENDER:
        return None
    found = _SECOND_LINE.match(message.body)
    return found[1] if found else None


def read_file(path: str, state: Path) -> str:
    """Return what the prompt says about the file `path`: its text, or why it cannot be read.

    Args:
        path: a path below ROOT.
        state: the directory that ROOT stands for.
    """
    try:
        descriptor = _open(path, state)
    except OSError as error:
        return f"[{path} cannot be read: {error.strerror}]"
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            return f"[{path} has {size} bytes, too many to show here: read the part that you need]"
        # A file that grows meanwhile is cut: never more than this is read.
        text = os.read(descriptor, MAX_BYTES).decode(errors="replace")
    except OSError as error:
        return f"[{path} cannot be read: {error.strerror}]"
    finally:
        os.close(descriptor)
    return f"[{path} contains:]\n{text}"


def _open(path: str, state: Path) -> int:
    """Open a regular file.

    Raises:
        OSError: the path is invalid, does not exist, or is not a regular file.
    """
    *folders, name = path.removeprefix(ROOT).split("/")
    if not path.startswith(ROOT) or not {"", ".", ".."}.isdisjoint((*folders, name)):
        raise OSError(None, f"it is not a path below {ROOT}")
    directory = os.open(state, _DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        descriptor = os.open(name, _FILE, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "it is not a regular file")
    return descriptor
