"""The API key that Claude Code keeps in .claude.json when it was logged in with one.

In a hive no container has a key: the gateway holds it. So the key is taken out of the copy. The
agent has written the file, and the key that it names is only ever used for this agent.
"""

import json
import os
from typing import Final

from services.lifecycle.files.nofollow import Directory
from services.lifecycle.nixos_import.tree_copy import regular_file

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

    A file with brackets so deep that it cannot be written without the key is removed.

    `folder`: a directory that nobody else can enter. The file gets its owner.
    """
    known = _read(folder.fileno(), FILE)
    if known is None or _KEY not in known:
        return ""
    key = find(folder.fileno())
    del known[_KEY]
    try:
        folder.write(FILE, json.dumps(known, indent=2) + "\n", mode=0o600)
    except RecursionError:  # reading takes fewer frames than writing
        folder.remove(FILE)
    return key


def _is_plain(key: str) -> bool:
    """Return whether `hivectl credentials set` would take the key."""
    return key.isascii() and key.isprintable() and " " not in key and 8 <= len(key) <= 4096


def _read(folder: int, name: str) -> dict[str, object] | None:
    """Return the JSON object in a file; None if there is no such regular file."""
    try:
        with regular_file(folder, name) as file:
            size = os.fstat(file).st_size
            found = json.loads(os.read(file, size)) if size <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
