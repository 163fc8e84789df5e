"""Walks through what belongs to an agent, counting and giving back, without following its links.

The agent may move things about meanwhile, and nest them as deep as it likes: every step is a
directory descriptor opened with O_NOFOLLOW, and only so many are open at a time.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.lifecycle.files.nofollow import Directory

MAX_DEPTH: Final = 200
"""Directories within directories. Below it nothing is counted or given back: nobody works so deep,
and each level holds a descriptor."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Visit = Callable[[int, str, os.stat_result], None]
"""Is called with the directory's descriptor, an entry's name and its status."""


def size_below(parent: Path, name: str) -> int:
    """The bytes on disk of `name` in the root-owned directory `parent`; 0 when it is not there."""
    total = 0

    def count(_folder: int, _entry: str, status: os.stat_result) -> None:
        nonlocal total
        total += status.st_blocks * 512

    _survey(parent, name, count)
    return total


def chown_below(parent: Path, name: str, owners: range) -> int:
    """Give what lies below `name` and does not belong to one of `owners` to the first of them.

    Returns how many entries that were.
    """
    given = 0

    def give(folder: int, entry: str, status: os.stat_result) -> None:
        nonlocal given
        if status.st_uid not in owners or status.st_gid not in owners:
            os.chown(entry, owners[0], owners[0], dir_fd=folder, follow_symlinks=False)
            given += 1

    _survey(parent, name, give)
    return given


def _survey(parent: Path, name: str, visit: Visit) -> None:
    try:
        with Directory.open(parent) as tree:
            _walk(tree.fileno(), name, visit, MAX_DEPTH)
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
