"""The API key that Claude Code keeps in .claude.json when it was logged in with one.

In a hive no container has a key: the gateway holds it. So the key is taken out of the copy. The
agent has written the file, and the key that it names is only ever used for this agent.
"""

import json
import os
import stat
from typing import Final

from services.lifecycle.files.nofollow import Directory

FILE: Final = ".claude.json"
LOGIN: Final = ".credentials.json"
"""The file of a login with an account, beside the other files of Claude Code."""
MAX_BYTES: Final = 16 * 1024 * 1024

_KEY: Final = "primaryApiKey"


def has_login(claude: int) -> bool:
    """Return whether a directory of Claude Code's files holds a login with an account."""
    return _read(claude, LOGIN) is not None


def find(folder: int) -> str:
    """Return the API key in the file in a directory; empty if there is none."""
    key = (_read(folder, FILE) or {}).get(_KEY)
    return key if isinstance(key, str) and _is_plain(key) else ""


def take(folder: Directory) -> str:
    """Remove the API key from the file in a directory, and return it; empty if there is none.

    `folder`: a directory that nobody else can enter. The file gets its owner.
    """
    known = _read(folder.fileno(), FILE)
    if known is None or _KEY not in known:
        return ""
    key = find(folder.fileno())
    del known[_KEY]
    folder.write(FILE, json.dumps(known, indent=2) + "\n", mode=0o600)
    return key


def _is_plain(key: str) -> bool:
    """Return whether `hivectl credentials set` would take the key."""
    return key.isascii() and key.isprintable() and " " not in key and 8 <= len(key) <= 4096


def _read(folder: int, name: str) -> dict[str, object] | None:
    """Return the JSON object in a file; None if there is no such regular file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None  # opening a device may do something to it
        with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                return None
            found = json.loads(file.read(status.st_size))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
