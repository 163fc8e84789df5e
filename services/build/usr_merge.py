"""Merging packages into one /usr, as usrmerge does for those with files in /bin or /lib."""

import os
import shutil
import stat
from pathlib import Path
from typing import Final

MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32")
"""The directories in / of a package that belong into /usr, to which / has links."""

NAMED: Final = 5
"""The most left-out files that are named."""


def move(package: Path, to: Path) -> list[str]:
    """Move the files that belong into /usr from the unpacked `package` to `to`.

    Directories are merged; existing files are replaced.

    Returns:
        The files that were left out.
    """
    to.mkdir(mode=0o755, exist_ok=True)
    if _is_directory(package / "usr"):
        _merge(package / "usr", to)
    for name in MERGED:
        if _is_directory(package / name):
            _merge_directory(package / name, to / name)
    return _left(package)


def _merge(source: Path, target: Path) -> None:
    """Move the entries of the directory `source` into `target`."""
    # The owner gets all permissions, whatever the package says, to be able to remove it later.
    for folder in (source, target):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IRWXU)
    for entry in sorted(source.iterdir()):
        there = target / entry.name
        if _is_directory(entry):
            _merge_directory(entry, there)
        else:
            _move_file(entry, there)


def _merge_directory(source: Path, there: Path) -> None:
    """Merge like `_merge`, into a directory that may be missing. A link is not followed."""
    if not _is_directory(there):
        there.unlink(missing_ok=True)
        there.mkdir(mode=stat.S_IMODE(source.stat().st_mode))
    _merge(source, there)


def _move_file(entry: Path, there: Path) -> None:
    if _is_directory(there):
        shutil.rmtree(there)
    if not entry.is_symlink():
        # On the host, the set-user-id bit would apply to the user of the build.
        entry.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o1777)
    entry.replace(there)


def _left(package: Path) -> list[str]:
    """Return the first NAMED files that were not moved, as paths from /."""
    left = []
    for folder, _, files in os.walk(package):
        left += [f"/{(Path(folder) / name).relative_to(package)}" for name in files]
    left.sort()
    more = len(left) - NAMED
    return left if more <= 0 else [*left[:NAMED], f"and {more} more"]


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
