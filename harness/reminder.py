"""The file that a due reminder names: opened here, in the container, and nowhere else.

The path is one that the agent gave to the broker some time ago. What lies there now may be
anything: no component of it may be a symbolic link, and only a regular file is read.
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
"""What a path begins with. Where that lies on the disk, the harness knows."""

MAX_BYTES: Final = 100_000
"""A file with more is pointed to: it would crowd out the model's context."""

_SECOND_LINE: Final = re.compile(rf"[^\n]*\nFile: ({re.escape(ROOT)}[^\n]+)")
"""The broker's own words. Those of the agent come later, and may look the same."""

_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def file_of(message: Message) -> str | None:
    """The path that a due reminder names, None for one without and for every other message."""
    if message.kind != KIND or message.sender != SENDER:
        return None
    found = _SECOND_LINE.match(message.body)
    return found[1] if found else None


def shown(path: str, state: Path) -> str:
    """What the prompt says about the file `path`, whose root is `state`: its text, or why not."""
    try:
        descriptor = _open(path, state)
    except OSError as error:
        return f"[{path} cannot be shown: {error.strerror}]"
    try:
        size = os.fstat(descriptor).st_size
        if size > MAX_BYTES:
            return f"[{path} has {size} bytes, too many to show here: read what you need of it]"
        # A file that grows meanwhile is cut: no more than this is ever read.
        text = os.read(descriptor, MAX_BYTES).decode(errors="replace")
    except OSError as error:
        return f"[{path} cannot be shown: {error.strerror}]"
    finally:
        os.close(descriptor)
    return f"[{path} holds:]\n{text}"


def _open(path: str, state: Path) -> int:
    """A descriptor of the regular file; raises OSError for everything else that may be there."""
    *folders, name = path.removeprefix(ROOT).split("/")
    if not path.startswith(ROOT) or not {"", ".", ".."}.isdisjoint((*folders, name)):
        raise OSError(None, f"it is no path below {ROOT}")
    place = os.open(state, _DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, _DIRECTORY, dir_fd=place)
            os.close(place)
            place = inner
        descriptor = os.open(name, _FILE, dir_fd=place)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "it is no regular file")
    return descriptor
