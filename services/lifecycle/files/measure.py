"""Measuring how much disk space an agent's files take.

The agent may move files meanwhile, and has every reason to hide them. So no links are followed,
each directory is opened from the one above it, and what cannot be measured counts as too much.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Final, TypeAlias

from services.lifecycle.files.nofollow import Directory

SMALLEST: Final = 4096
"""The least that a file counts for. An empty one takes no blocks, but a file system has a limited
number of files, too."""
MAX_DEPTH: Final = 20_000
"""The most directories within each other, each of which takes two descriptors of this process."""
MAX_LINKED: Final = 1_000_000
"""The most files with several names that are counted once. Others count with each name."""
TOO_MUCH: Final = 2**62
"""The size of a tree that cannot be measured."""

_TOO_MANY: Final = (errno.EMFILE, errno.ENFILE)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


Level: TypeAlias = "tuple[int, os._ScandirIterator[str]]"
"""The descriptor of a directory on the way down, and its remaining entries."""


def size_below(parent: Path, name: str, enough: int = TOO_MUCH) -> int:
    """Return the bytes on disk of `name` in `parent`, a directory of root; 0 if it is missing.

    Args:
        parent: a directory of root.
        name: the entry in it to start with.
        enough: the size at which measuring stops.

    Returns:
        The size, at least `enough` if it is more than that, or TOO_MUCH if it cannot be measured.
    """
    total, linked = 0, set[tuple[int, int]]()
    with contextlib.closing(_entries(parent, name)) as entries:
        for status in entries:
            if status is None:
                return TOO_MUCH
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                identity = (status.st_dev, status.st_ino)
                if identity in linked:
                    continue
                if len(linked) < MAX_LINKED:
                    linked.add(identity)
            total += max(status.st_blocks * 512, SMALLEST)
            if total >= enough:
                break
    return total


def total_size(parts: Iterable[tuple[Path, str]], enough: int = TOO_MUCH) -> int:
    """Return the size of several trees together; see `size_below`."""
    total = 0
    for parent, name in parts:
        total += size_below(parent, name, enough - total)
        if total >= enough:
            break
    return min(total, TOO_MUCH)


def _entries(parent: Path, name: str) -> Generator[os.stat_result | None, None, None]:
    """Yield the status of each entry of a tree, or None for one that cannot be measured."""
    path: list[Level] = []
    try:
        with Directory.open(parent) as above:
            yield from _enter(above.fileno(), name, path)
        while path:
            folder, entries = path[-1]
            entry = next(entries, None)
            if entry is None:
                _leave(path.pop())
            elif len(path) == MAX_DEPTH and entry.is_dir(follow_symlinks=False):
                yield None
            else:
                yield from _enter(folder, entry.name, path)
    except FileNotFoundError:
        return
    finally:
        for level in path:
            _leave(level)


def _enter(
    folder: int, name: str, path: list[Level]
) -> Generator[os.stat_result | None, None, None]:
    """Yield the status of an entry, and add it to `path` if it is a directory."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return  # the agent has moved it meanwhile
    yield status
    if stat.S_ISDIR(status.st_mode):
        try:
            inner = os.open(name, _DIRECTORY, dir_fd=folder)
        except OSError as error:
            if error.errno in _TOO_MANY:
                yield None
            return
        try:
            path.append((inner, os.scandir(inner)))
        except OSError:
            os.close(inner)
            yield None


def _leave(level: Level) -> None:
    folder, entries = level
    entries.close()
    os.close(folder)
