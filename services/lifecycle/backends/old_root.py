"""Moving an agent's files out of a root directory of an earlier version, which the agent owned.

The unit of the container runs `python -m services.lifecycle.backends.old_root NAME UID` before
systemd-nspawn, so that it does not matter whether lifecycle starts the container or systemd after a
crash. It runs as root of the host, while other containers may hold descriptors of the directory: so
nothing is opened by path, and no link is followed. An interrupted move goes on at the next start.
"""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from services.lifecycle.agents import uid_ranges
from services.lifecycle.backends import data
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory
from wire import names

REST: Final = "old-root"
"""The directory in /root for everything that has no place of its own any more."""

EMPTY: Final = (
    *("bin", "dev", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "state", "sys"),
    *("tmp", "usr", "agents", "applied", "meta"),
)
"""The mount points and links in an old root, which hold no files."""

MAX_DEPTH: Final = 200
"""The most directories within each other that can be copied. Renaming has no limit."""


def old_names(machines: Directory, name: str) -> list[str]:
    """Return the names of the retired roots of the agent `name`."""
    prefix = f".{names.machine_name(name)}.old"
    return sorted(entry for entry, _ in _entries(machines.fileno()) if entry.startswith(prefix))


def listed(layout: Layout, name: str) -> list[str]:
    """Return the same as `old_names`."""
    with Directory.open(layout.machines) as machines:
        return old_names(machines, name)


def retire(layout: Layout, name: str) -> bool:
    """Rename the root of an earlier version, if there is one; return whether there is.

    A running container keeps it. Nothing is started from it any more.
    """
    machine = names.machine_name(name)
    with Directory.open(layout.machines) as machines:
        if machines.owner_of(machine) not in (None, 0):
            count = len(old_names(machines, name))
            there = machines.fileno()
            os.rename(machine, f".{machine}.old{count}", src_dir_fd=there, dst_dir_fd=there)
        return bool(old_names(machines, name))


def move(layout: Layout, name: str, owner: int) -> None:
    """Move the files of all retired roots of an agent into its data directory.

    Args:
        layout: the paths.
        name: the agent.
        owner: the first uid of the agent's range.
    """
    with Directory.open(layout.machines) as machines, Directory.open(layout.data / name) as own:
        mover = _Mover(owner)
        for old in old_names(machines, name):
            # A process that holds a descriptor of it cannot exchange its entries from now on.
            with machines.directory(old, mode=0o700) as root:
                mover.move_root(root, own)
            machines.remove(old)


class _Mover:
    def __init__(self, owner: int) -> None:
        self._owners = range(owner, owner + uid_ranges.SIZE)

    def move_root(self, root: Directory, own: Directory) -> None:
        parts = [part.name for part in data.WRITABLE if not part.survives]
        for name, is_directory in _entries(root.fileno()):
            if name in parts and is_directory:
                self._merge(root.fileno(), name, own.fileno(), 0)
            elif name not in EMPTY:
                with (
                    own.directory("root", mode=0o700, owner=self._owners[0]) as home,
                    home.directory(REST) as rest,
                ):
                    self._move(root.fileno(), name, rest.fileno(), 0)

    def _move(self, source: int, name: str, target: int, depth: int) -> None:
        """Move an entry between directories; an entry there is replaced, a directory completed."""
        if _is_directory(source, name) and _is_directory(target, name):
            self._merge(source, name, target, depth)
            return
        Directory(target, 0, "", []).remove(name)
        try:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(source, name, target, depth)

    def _merge(self, source: int, name: str, target: int, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"more than {MAX_DEPTH} directories within each other", name)
        with Directory.at(source, name) as inner, Directory.at(target, name) as there:
            for entry, _ in _entries(inner.fileno()):
                self._move(inner.fileno(), entry, there.fileno(), depth + 1)
            self._own(there.fileno(), os.fstat(inner.fileno()))

    def _copy(self, source: int, name: str, target: int, depth: int) -> None:
        """Copy an entry to another file system, and remove it."""
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            self._merge(source, name, target, depth)
            os.rmdir(name, dir_fd=source)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, *self._ids(status), dir_fd=target, follow_symlinks=False)
        elif stat.S_ISREG(status.st_mode):
            self._copy_file(source, name, target)
        # A pipe or a socket holds nothing.
        os.unlink(name, dir_fd=source)

    def _copy_file(self, source: int, name: str, target: int) -> None:
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(name, os.O_RDONLY | flags, dir_fd=source), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it has been exchanged", name)
            create = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(name, create | flags, 0o600, dir_fd=target), "wb") as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                self._own(copy.fileno(), status)

    def _own(self, descriptor: int, status: os.stat_result) -> None:
        os.fchown(descriptor, *self._ids(status))
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _ids(self, status: os.stat_result) -> tuple[int, int]:
        uid, gid = status.st_uid, status.st_gid
        first = self._owners[0]
        return uid if uid in self._owners else first, gid if gid in self._owners else first


def _entries(folder: int) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    yield from found


def _is_directory(folder: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode)


def main(arguments: Sequence[str]) -> int:
    """Move the files of an agent; return the exit status."""
    name, owner = arguments
    try:
        move(Layout(Path("/")), name, int(owner))
    except OSError as error:
        sys.stderr.write(
            f"The files of {name} could not be moved out of its old root in /var/lib/machines: "
            f"{error}. Nothing is lost; the next start continues.\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
