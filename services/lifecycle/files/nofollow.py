"""Writing into directories that an agent owns, without following links that it planted.

Lifecycle is root, and the agent may put a symbolic link wherever it can write. So nothing below a
directory that an agent owns is opened by path: each step is a directory descriptor, opened with
O_NOFOLLOW, and files are renamed over whatever has their name.

A tree to be removed may have any depth and size. So removal does not descend: a directory that is
not empty is moved to the top of its tree and removed from there, which needs two descriptors.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import stat
import struct
from collections.abc import Coroutine, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, Self

SLICE: Final = 1000
"""The entries that are removed without a pause, which takes some milliseconds."""

_ACCESS_LIST: Final = "system.posix_acl_access"

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directory:
    """A directory that is held open. New entries belong to `owner`, a uid and gid, by default."""

    def __init__(self, descriptor: int, owner: int, path: str, changes: list[str]) -> None:
        self._fd = descriptor
        self._owner = owner
        self._path = path
        self._changes = changes

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: Path, *, owner: int = 0, changes: list[str] | None = None
    ) -> Iterator[Self]:
        """Open the existing directory `path`.

        Links in the last part of the path are refused, links above it are followed. So everything
        above it must belong to root.

        Args:
            path: the directory.
            owner: the owner of new entries.
            changes: receives a line for each change below the directory.

        Raises:
            OSError: the last part of the path is a link (ELOOP, ENOTDIR).
        """
        descriptor = os.open(path, _DIRECTORY)
        try:
            yield cls(descriptor, owner, str(path), [] if changes is None else changes)
        finally:
            os.close(descriptor)

    @classmethod
    @contextlib.contextmanager
    def at(cls, folder: int, name: str) -> Iterator[Self]:
        """Open the existing directory `name` in a directory that is open. Raises OSError."""
        with _opened(folder, name) as descriptor:
            yield cls(descriptor, 0, name, [])

    @contextlib.contextmanager
    def directory(
        self, name: str, *, mode: int = 0o755, owner: int | None = None, group: int | None = None
    ) -> Iterator[Self]:
        """Open the directory `name`; create it, or correct its mode and owner, if needed.

        Anything else of that name is removed. `group` is the owner by default.
        """
        uid = self._owner if owner is None else owner
        gid = uid if group is None else group
        made = not self._is_directory(name)
        if made:
            self.remove(name)
            os.mkdir(name, 0o700, dir_fd=self._fd)
        descriptor = os.open(name, _DIRECTORY, dir_fd=self._fd)
        try:
            status = os.fstat(descriptor)
            fits = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (uid, gid, mode)
            if not fits:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, mode)
            if made or not fits:
                self._changed(name, "made" if made else "owner and mode corrected")
            yield type(self)(descriptor, uid, f"{self._path}/{name}", self._changes)
        finally:
            os.close(descriptor)

    def make(
        self, name: str, *, mode: int = 0o755, owner: int | None = None, group: int | None = None
    ) -> None:
        """Create or correct a directory like `directory`, without opening it."""
        with self.directory(name, mode=mode, owner=owner, group=group):
            pass

    def ensure(self, name: str) -> None:
        """Create the directory `name` if it is missing. The agent may change its mode and group."""
        if not self._is_directory(name):
            self.make(name)

    def write(
        self, name: str, content: str, *, mode: int = 0o644, group: int | None = None
    ) -> bool:
        """Write a file atomically; return whether anything changed.

        A link or a directory of that name is replaced, never written through. `group` is the
        owner by default.
        """
        gid = self._owner if group is None else group
        if self._holds(name, content.encode(), mode, gid):
            return False
        temporary = f".{name}.{secrets.token_hex(4)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self._fd)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode())
                file.flush()
                os.fchown(descriptor, self._owner, gid)
                os.fchmod(descriptor, mode)
            if self._is_directory(name):
                self.remove(name)
            os.rename(temporary, name, src_dir_fd=self._fd, dst_dir_fd=self._fd)
            self._changed(name, "written")
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._fd)
            raise
        return True

    def link(self, name: str, target: str) -> None:
        """Create a symbolic link, replacing anything else of that name."""
        if self._links(name, target):
            return
        self.remove(name)
        os.symlink(target, name, dir_fd=self._fd)
        os.chown(name, self._owner, self._owner, dir_fd=self._fd, follow_symlinks=False)
        self._changed(name, f"linked to {target}")

    def remove(self, name: str) -> bool:
        """Remove a file, a link (not its target) or a directory; return whether it existed."""
        existed = False
        while self.remove_some(name):
            existed = True
        return existed

    def remove_some(self, name: str) -> bool:
        """Remove like `remove`, but at most about SLICE entries; return False when it is gone."""
        if not self._is_directory(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._fd)
                return True
            return False
        with _opened(self._fd, name) as top:
            empty = _empty(top)
        if empty:
            os.rmdir(name, dir_fd=self._fd)
        return True

    def admit(self, user: int | None, *, mode: int) -> None:
        """Let one more user pass through the directory, without listing it.

        Args:
            user: the uid; None: nobody but those that `mode` admits.
            mode: the mode of the directory.

        Raises:
            OSError: the file system has no access control lists.
        """
        wanted = b"" if user is None else _access_list(user, mode)
        if _attribute(self._fd) == wanted:
            return
        if wanted:
            os.setxattr(self._fd, _ACCESS_LIST, wanted)
        else:
            os.removexattr(self._fd, _ACCESS_LIST)
            os.fchmod(self._fd, mode)
        self._changes.append(f"{self._path} access corrected")

    def fileno(self) -> int:
        """Return the descriptor, which must not be closed by the caller."""
        return self._fd

    def owner_of(self, name: str) -> int | None:
        """Return the owner of the directory `name`; None if there is no such directory."""
        status = self._status(name)
        return status.st_uid if status and stat.S_ISDIR(status.st_mode) else None

    def _changed(self, name: str, how: str) -> None:
        self._changes.append(f"{self._path}/{name} {how}")

    def _links(self, name: str, target: str) -> bool:
        status = self._status(name)
        if status is None or not stat.S_ISLNK(status.st_mode):
            return False
        return status.st_uid == self._owner and os.readlink(name, dir_fd=self._fd) == target

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _is_directory(self, name: str) -> bool:
        return self.owner_of(name) is not None

    def _holds(self, name: str, content: bytes, mode: int, group: int) -> bool:
        """Return whether the file exists with this content, mode, owner and group."""
        status = self._status(name)
        if status is None or not stat.S_ISREG(status.st_mode):
            return False
        owner = (status.st_uid, status.st_gid)
        if (*owner, stat.S_IMODE(status.st_mode)) != (self._owner, group, mode):
            return False
        if status.st_size != len(content):
            return False
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd
        )
        with os.fdopen(descriptor, "rb") as file:
            return file.read(len(content) + 1) == content


def read_below(parent: Path, parts: Sequence[str], most: int) -> bytes:
    """Return the first `most` bytes of a file without following links.

    Args:
        parent: a directory, opened by path.
        parts: the path of the file below `parent`.
        most: the number of bytes.

    Raises:
        OSError: there is no such regular file.
    """
    opened = [os.open(parent, _DIRECTORY)]
    try:
        for part in parts[:-1]:
            opened.append(os.open(part, _DIRECTORY, dir_fd=opened[-1]))
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(parts[-1], flags, dir_fd=opened[-1])
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, f"{parts[-1]} is not a regular file")
            return file.read(most)
    finally:
        for descriptor in opened:
            os.close(descriptor)


def link_below(parent: Path, parts: Sequence[str]) -> str:
    """Return the target of a link without following other links.

    Args:
        parent: a directory, opened by path.
        parts: the path of the link below `parent`.

    Raises:
        OSError: there is no such link.
    """
    opened = [os.open(parent, _DIRECTORY)]
    try:
        for part in parts[:-1]:
            opened.append(os.open(part, _DIRECTORY, dir_fd=opened[-1]))
        return os.readlink(parts[-1], dir_fd=opened[-1])
    finally:
        for descriptor in opened:
            os.close(descriptor)


async def remove_below(parent: Path, name: str) -> bool:
    """Remove `name` in `parent`, a directory of root, without following links.

    Removal runs in a thread, in slices: however large the tree is, it blocks neither the event
    loop nor a stopping service. A cancelled removal leaves the rest.

    Returns:
        Whether `name` existed. A missing parent is not an error.
    """
    existed = False
    while await _finished(asyncio.to_thread(_remove_some, parent, name)):
        existed = True
    return existed


async def _finished(work: Coroutine[object, object, bool]) -> bool:
    """Finish `work` even if cancelled: two threads must not remove the same entries."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _remove_some(parent: Path, name: str) -> bool:
    try:
        with Directory.open(parent) as tree:
            return tree.remove_some(name)
    except FileNotFoundError:
        return False


def _empty(top: int) -> bool:
    """Remove about SLICE entries below the directory `top`; return whether it is empty."""
    done = 0
    while done < SLICE:
        entries = _entries(top)
        if not entries:
            return True
        done += len(entries)
        for name, is_directory in entries:
            if _removed(top, name, is_directory):
                continue
            with _opened(top, name) as folder:
                inner = _entries(folder)
                done += len(inner)
                for deeper, is_folder in inner:
                    if not _removed(folder, deeper, is_folder):
                        os.rename(deeper, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
            if done >= SLICE:
                break
    return False


def _entries(folder: int) -> list[tuple[str, bool]]:
    """Return up to SLICE names in the directory `folder`, and whether each is a directory."""
    with os.scandir(folder) as entries:
        return [(e.name, e.is_dir(follow_symlinks=False)) for e in islice(entries, SLICE)]


def _removed(folder: int, name: str, is_directory: bool) -> bool:
    """Remove `name`; return False for a directory that is not empty."""
    if not is_directory:
        os.unlink(name, dir_fd=folder)
        return True
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[int]:
    descriptor = os.open(name, _DIRECTORY, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _access_list(user: int, mode: int) -> bytes:
    """Return the access control list of a mode and one more user, in the form of the kernel."""
    nobody = 2**32 - 1
    entries = (
        (0x01, mode >> 6 & 7, nobody),  # the owner
        (0x02, 1, user),
        (0x04, mode >> 3 & 7, nobody),  # the group
        (0x10, 1 | mode >> 3 & 7, nobody),  # the most that a user or a group has
        (0x20, mode & 7, nobody),  # others
    )
    packed = b"".join(struct.pack("<HHI", *entry) for entry in entries)
    return struct.pack("<I", 2) + packed


def _attribute(descriptor: int) -> bytes:
    try:
        return os.getxattr(descriptor, _ACCESS_LIST)
    except OSError:
        return b""
