"""The references of an imported repository: a copy in a place of root's, with hostile content.

Only files are read here, without following links. git gets names that it checks, and objects that
the quarantine has checked.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wire.errors import InvalidArgument, LimitExceeded, NotFound

MAX_REFERENCES: Final = 2000
MAX_PACKED: Final = 2**20
"""Bytes of the file packed-refs."""
MAX_NAME: Final = 200
"""Characters of a name."""
MAX_DEPTH: Final = 8
"""Directories within each other below refs."""
KINDS: Final = ("heads/", "tags/")
"""The beginnings of the references that are read, after `refs/`."""

_PART: Final = r"[A-Za-z0-9_][A-Za-z0-9_+-]*(?:\.[A-Za-z0-9_+-]+)*(?<!\.lock)"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})+")
_OBJECT: Final = re.compile(r"[0-9a-f]{40}")
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def references(repository: Path) -> dict[str, str]:
    """Return the branches and tags of a repository with their objects, as `tags/deployed/3`.

    References with other characters in their names, and symbolic ones, are left out.

    Args:
        repository: the git directory; nobody can change it.

    Raises:
        NotFound: there is no such directory.
        InvalidArgument: the references cannot be read.
        LimitExceeded: there are too many of them.
    """
    try:
        top = os.open(repository, _DIRECTORY)
    except FileNotFoundError:
        raise NotFound(f"There is no copied repository {repository}.") from None
    found: dict[str, str] = {}
    try:
        for name, value in (*_packed(top), *_loose(top, "refs", "", 0)):
            if _is_name(name) and _OBJECT.fullmatch(value):
                found[name] = value
            if len(found) > MAX_REFERENCES:
                raise _too_many(MAX_REFERENCES, "branches and tags")
    except OSError as error:
        raise InvalidArgument(
            f"The references of the history cannot be read: {error.strerror}."
        ) from None
    finally:
        os.close(top)
    return found


def _is_name(name: str) -> bool:
    """Return whether git takes `name` for a branch or a tag, after `refs/`."""
    return name.startswith(KINDS) and len(name) <= MAX_NAME and bool(_NAME.fullmatch(name))


def _packed(top: int) -> Iterator[tuple[str, str]]:
    data = _read(top, "packed-refs", MAX_PACKED + 1)
    if len(data) > MAX_PACKED:
        raise _too_many(MAX_PACKED, "bytes of packed references")
    for line in data.decode(errors="replace").splitlines():
        value, _, name = line.partition(" ")
        if name.startswith("refs/"):
            yield name.removeprefix("refs/"), value


def _loose(folder: int, entry: str, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_DEPTH:
        return
    at = os.open(entry, _DIRECTORY, dir_fd=folder)
    try:
        for below in sorted(os.listdir(at)):  # noqa: PTH208 - by descriptor
            status = os.stat(below, dir_fd=at, follow_symlinks=False)
            path = f"{name}/{below}" if name else below
            if stat.S_ISDIR(status.st_mode):
                yield from _loose(at, below, path, depth + 1)
            elif stat.S_ISREG(status.st_mode):
                yield path, _read(at, below, 64).decode(errors="replace").strip()
    finally:
        os.close(at)


def _read(folder: int, name: str, most: int) -> bytes:
    """Return the first bytes of a regular file; none of anything else."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _too_many(most: int, what: str) -> LimitExceeded:
    return LimitExceeded(
        f"The history has more than {most} {what}. Delete those that you do not need in the "
        "original repository, and import it again."
    )
