"""Copying a directory that an agent has written, as root, within limits.

Nothing in it is opened by a path: each step is a descriptor of a directory, opened without
following links. Links are copied as links. Devices, pipes and sockets are left out, and so is
everything on another file system. Rights that an owner could abuse (set-user-ID, capabilities,
ACLs) are not copied.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.lifecycle.agents import uid_ranges
from wire.errors import LimitExceeded
from wire.text.escaping import literal

SMALLEST: Final = 4096
"""The bytes that the smallest file counts for, as in `files.measure`."""
CHUNK: Final = 1024 * 1024
STEP: Final = 64 * 1024 * 1024
"""The bytes after which progress is told."""
LISTED: Final = 20
"""The entries that are left out by name; further ones are only counted."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@dataclass(frozen=True)
class Limits:
    """The limits of one import.

    Attributes:
        bytes: The bytes of all files, each rounded up to 4 KiB; holes count as well.
        entries: The files, links and directories.
        depth: The directories within each other.
    """

    bytes: int = 256 * 2**30
    entries: int = 4_000_000
    depth: int = 200


@dataclass
class Tally:
    """The entries that were copied, or would be."""

    entries: int = 0
    bytes: int = 0
    left_out: list[str] = field(default_factory=list)
    """The first LISTED entries that were left out, each with the reason."""
    left_out_count: int = 0


class TreeCopy:
    """One copy of several trees, within limits that hold for all of them together."""

    def __init__(
        self,
        limits: Limits,
        base: int | None,
        tell: Callable[[Tally], None] = lambda _tally: None,
    ) -> None:
        """Prepare a copy.

        Args:
            limits: the limits.
            base: the first uid of the range that owns the copies; None: they belong to root, and
                everybody may read them.
            tell: is called from time to time while files are copied.
        """
        self.tally = Tally()
        self._limits = limits
        self._base = base
        self._tell = tell
        self._told = 0
        self._device = 0

    def copy(
        self,
        source: int,
        target: int | None,
        path: str,
        wanted: Callable[[str], bool] = lambda _name: True,
    ) -> None:
        """Copy the entries of a directory into another, which nobody else can enter.

        Args:
            source: the directory, which may change meanwhile.
            target: a directory without entries of these names; None: the entries are only counted.
            path: the path of `source`, for errors.
            wanted: returns whether an entry of `source` is copied, by its name.

        Raises:
            LimitExceeded: a limit is exceeded. Some entries have been copied.
            OSError: an entry cannot be read or written.
        """
        self._device = os.fstat(source).st_dev
        for name in filter(wanted, self._entries(source, path, 0)):
            self._copy(source, name, target, f"{path}/{name}", 1)

    def _entries(self, folder: int, path: str, depth: int) -> Iterator[str]:
        if depth > self._limits.depth:
            raise self._over(f"{self._limits.depth} directories within each other", path)
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry.name

    def _copy(self, source: int, name: str, target: int | None, path: str, depth: int) -> None:
        self.tally.entries += 1
        if self.tally.entries > self._limits.entries:
            raise self._over(f"{self._limits.entries} files", path)
        try:
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            return  # it has gone meanwhile
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "")
        # Only directories say so: the files of an overlay have the devices of its layers.
        if stat.S_ISDIR(status.st_mode) and status.st_dev != self._device:
            kind = "on another file system"
        if kind:
            self._leave_out(path, kind)
            return
        try:
            if stat.S_ISDIR(status.st_mode):
                self._copy_directory(source, name, target, path, depth)
            elif stat.S_ISLNK(status.st_mode):
                self._copy_link(source, name, target)
            else:
                self._copy_file(source, name, target, path)
        except OSError as error:
            # It was exchanged for a link or removed. What is in the target is only ours.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.ENXIO):
                raise
            self._leave_out(path, "it changes while it is copied")

    def _copy_directory(
        self, source: int, name: str, target: int | None, path: str, depth: int
    ) -> None:
        self._count(0, path)
        with _opened(name, _DIRECTORY, source) as inner, _made(name, target) as there:
            for entry in self._entries(inner, path, depth):
                self._copy(inner, entry, there, f"{path}/{entry}", depth + 1)
            if there is not None:
                self._give(there, os.fstat(inner), 0o1777, 0o755)

    def _copy_link(self, source: int, name: str, target: int | None) -> None:
        leads = os.readlink(name, dir_fd=source)
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        self._count(0, name)
        if target is not None:
            os.symlink(leads, name, dir_fd=target)
            if owners := self._owners(status):
                os.chown(name, *owners, dir_fd=target, follow_symlinks=False)

    def _copy_file(self, source: int, name: str, target: int | None, path: str) -> None:
        with regular_file(source, name) as file:
            status = os.fstat(file)
            self._count(status.st_size, path)
            if target is None:
                return
            with _opened(name, _NEW, target) as copy:
                left = status.st_size  # not more, though it may grow meanwhile
                while left and (chunk := os.read(file, min(CHUNK, left))):
                    left -= len(chunk)
                    _write(copy, chunk)
                self._give(copy, status, 0o777, 0o644)

    def _count(self, size: int, path: str) -> None:
        self.tally.bytes += max(-(-size // SMALLEST) * SMALLEST, SMALLEST)
        if self.tally.bytes > self._limits.bytes:
            raise self._over(f"{self._limits.bytes // 2**20} MiB", path)
        if self.tally.bytes - self._told >= STEP:
            self._told = self.tally.bytes
            self._tell(self.tally)

    def _over(self, limit: str, path: str) -> LimitExceeded:
        return LimitExceeded(
            f"{literal(path, one_line=True)[:200]}: an import takes at most {limit}. Remove what "
            "the agent does not need, or move it elsewhere."
        )

    def _leave_out(self, path: str, why: str) -> None:
        self.tally.left_out_count += 1
        if len(self.tally.left_out) < LISTED:
            self.tally.left_out.append(f"{literal(path, one_line=True)[:200]}: {why}")

    def _give(self, descriptor: int, status: os.stat_result, modes: int, public: int) -> None:
        """Give a copy its owner, its mode of the bits `modes`, and its times.

        `public`: the mode of a copy that belongs to root, for everybody to read.
        """
        owners = self._owners(status)
        if owners is not None:
            os.fchown(descriptor, *owners)
        os.fchmod(descriptor, public if owners is None else stat.S_IMODE(status.st_mode) & modes)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _owners(self, status: os.stat_result) -> tuple[int, int] | None:
        """Return the uid and gid of a copy.

        In the container, a uid of the host is that one without a user namespace, and else its
        distance from the beginning of a range of 65536.
        """
        if self._base is None:
            return None
        size = uid_ranges.SIZE
        return self._base + status.st_uid % size, self._base + status.st_gid % size


@contextmanager
def directory(path: Path, root: Path = Path("/")) -> Iterator[int]:
    """Open a directory by its path, of which no part may be a link.

    Args:
        path: the absolute path.
        root: the root directory of the host; differs from / only in tests.

    Raises:
        OSError: it is missing (ENOENT), or a part is a link or a file (ELOOP, ENOTDIR).
    """
    at = os.open(root, _DIRECTORY)
    try:
        for part in path.relative_to(root).parts:
            below = os.open(part, _DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


@contextmanager
def regular_file(folder: int, name: str) -> Iterator[int]:
    """Open a file to read, and nothing else: opening a device may do something to it.

    Args:
        folder: the directory.
        name: the name in it.

    Raises:
        OSError: there is no such file (ENOENT), or it is something else (ENXIO).
    """
    # O_PATH opens nothing yet. The descriptor stays the same file, whatever becomes of the name.
    with _opened(name, _ENTRY, folder) as entry:
        if not stat.S_ISREG(os.fstat(entry).st_mode):
            raise OSError(errno.ENXIO, "not a regular file", name)
        file = os.open(f"/proc/self/fd/{entry}", _FILE)
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def _opened(name: str, flags: int, folder: int) -> Iterator[int]:
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _made(name: str, folder: int | None) -> Iterator[int | None]:
    """Make a directory, and open it; yield None if there is no `folder` to make it in."""
    if folder is None:
        yield None
        return
    os.mkdir(name, 0o700, dir_fd=folder)
    with _opened(name, _DIRECTORY, folder) as made:
        yield made


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
