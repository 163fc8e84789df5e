"""Walking through an agent's files to change their owners.

The agent may move files meanwhile, and may nest directories as deep as it likes. So no links are
followed, every step is a directory descriptor opened with O_NOFOLLOW, and only a limited number of
them is open at a time. `measure.py` measures files.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.lifecycle.files.nofollow import Directory

MAX_DEPTH: Final = 200
"""The most directories within each other, each of which takes a descriptor. Entries below are
not changed: nobody works so deep."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Visit = Callable[[int, str, os.stat_result], None]
"""Is called with the descriptor of a directory, the name of an entry and the entry's status."""


def chown_below(parent: Path, name: str, owners: range) -> int:
    """Change the owner of foreign entries to the first of `owners`.

    Args:
        parent: a directory of root.
        name: the entry in it to start with.
        owners: the uids and gids that are left alone.

    Returns:
        The number of changed entries.
    """
    changed = 0

    def change(folder: int, entry: str, status: os.stat_result) -> None:
        nonlocal changed
        if status.st_uid not in owners or status.st_gid not in owners:
            os.chown(entry, owners[0], owners[0], dir_fd=folder, follow_symlinks=False)
            changed += 1

    _visit_all(parent, name, change)
    return changed


def _visit_all(parent: Path, name: str, visit: Visit) -> None:
    try:
        with Directory.open(parent) as directory:
            _walk(directory.fileno(), name, visit, MAX_DEPTH)
    except FileNotFoundError:
        return


def _walk(folder: int, name: str, visit: Visit, depth: int) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        visit(folder, name, status)
        if not stat.S_ISDIR(status.st_mode) or not depth:
            return
        inner = os.open(name, _DIRECTORY, dir_fd=folder)
    except OSError:
        return  # the agent has moved it meanwhile
    try:
        with os.scandir(inner) as entries:
            names = [entry.name for entry in entries]
        for entry in names:
            _walk(inner, entry, visit, depth - 1)
    finally:
        os.close(inner)
