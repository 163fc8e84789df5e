"""Copying the objects out of a git repository that somebody hostile writes to.

Single ("loose") objects are checked here; packs are only copied: git indexes them anew, which names
each object by its content. Nothing else in the repository is read.

The owner may change anything at any moment. So each file is looked at once, through a descriptor to
which no link leads, and only the copy is used.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.quarantine.bounds import DEFAULT, Bounds
from wire.errors import InvalidArgument, LimitExceeded, NotFound, Stopping

_ATTEMPTS: Final = 5
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# O_NONBLOCK also where a pipe or a lease on the file would keep us waiting.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = re.compile(r"[0-9a-f]{2}")
_LOOSE: Final = re.compile(r"[0-9a-f]{38}")
_PACK: Final = re.compile(r"pack-[0-9a-f]{40}\.pack")
_HEADER: Final = re.compile(rb"(?:commit|tree|blob|tag) (0|[1-9][0-9]{0,9})\0")


class _VanishedError(Exception):
    """A listed pack is gone: the owner's git is packing anew."""


class ObjectCopy:
    """One copy of the objects of a hostile repository."""

    def __init__(self, source: Path, target: Path, bounds: Bounds = DEFAULT) -> None:
        """Prepare to copy the objects of the work tree `source` to the directory `target`."""
        self.stop = threading.Event()
        self._source = source
        self._target = target
        self._bounds = bounds
        self._name = source.name
        self._files = 0
        self._bytes = 0
        self._inflated = 0

    def run(self) -> list[Path]:
        """Copy the objects; return the copied packs.

        Raises:
            NotFound: there is no repository.
            InvalidArgument: it cannot be read, or is not a plain one.
            LimitExceeded: it is too large.
        """
        for _ in range(_ATTEMPTS):
            self._files = self._bytes = self._inflated = 0
            try:
                with self._objects() as objects:
                    self._copy_loose(objects)
                    # After them: git packs first, and removes the packed objects then.
                    return self._copy_packs(objects)
            except _VanishedError:
                continue  # git has just packed the objects: the copy begins again with the packs.
            except OSError as error:
                raise self._unreadable(error) from None
        raise InvalidArgument(
            f"git is repacking the repository {self._name}; try again when it has finished."
        )

    @contextlib.contextmanager
    def _objects(self) -> Iterator[int]:
        """Open the directory of objects; nothing on the way to it may be a link."""
        with contextlib.ExitStack() as stack:
            at = os.open(self._source.parent, _DIRECTORY)
            stack.callback(os.close, at)
            for name in (self._source.name, ".git", "objects"):
                at = os.open(name, _DIRECTORY, dir_fd=at)
                stack.callback(os.close, at)
            yield at

    def _unreadable(self, error: OSError) -> Exception:
        name = self._name
        if error.errno == errno.ENOENT:
            return NotFound(f"There is no repository {self._name}.")
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return InvalidArgument(
                f"The repository {name} is not a valid git repository: {name}, .git and the "
                "folders in .git must be directories, not links or files."
            )
        return InvalidArgument(
            f"The repository {self._name} cannot be read: {error.strerror}. Make it readable for "
            "everybody (chmod -R a+rX .git), and end programs that hold leases on its files."
        )

    def entries(self, folder: int) -> Iterator[str]:
        """Yield the names in a directory.

        Raises:
            LimitExceeded: there are too many, those of all directories together.
            Stopping: `stop` was set.
        """
        with os.scandir(folder) as entries:
            for entry in entries:
                self._files += 1
                if self._files > self._bounds.files:
                    raise self._too_large(f"more than {self._bounds.files} files")
                if self.stop.is_set():
                    raise Stopping("The service is stopping; try again.")
                yield entry.name

    def _too_large(self, what: str) -> LimitExceeded:
        return LimitExceeded(
            f"The repository {self._name} has {what} of objects. Run `git gc --prune=now` "
            "in it, and do not commit large files."
        )

    def _copy_loose(self, objects: int) -> None:
        for folder in filter(_FOLDER.fullmatch, self.entries(objects)):
            try:
                at = os.open(folder, _DIRECTORY, dir_fd=objects)
            except FileNotFoundError:
                continue  # git has packed everything in it
            try:
                target = self._target / folder
                target.mkdir(exist_ok=True)
                for name in filter(_LOOSE.fullmatch, self.entries(at)):
                    data = self.read(at, name)
                    if data is not None and self._is_object(data, folder + name):
                        (target / name).write_bytes(data)
            finally:
                os.close(at)

    def _copy_packs(self, objects: int) -> list[Path]:
        try:
            at = os.open("pack", _DIRECTORY, dir_fd=objects)
        except FileNotFoundError:
            return []
        packs: list[Path] = []
        (self._target / "pack").mkdir(exist_ok=True)
        try:
            for name in filter(_PACK.fullmatch, self.entries(at)):
                if len(packs) == self._bounds.packs:
                    raise self._too_large(f"more than {self._bounds.packs} packs")
                data = self.read(at, name)
                if data is None:
                    raise _VanishedError
                packs.append(self._target / "pack" / name)
                packs[-1].write_bytes(data)
        finally:
            os.close(at)
        return packs

    def read(self, folder: int, name: str) -> bytes | None:
        """Return the content of a regular file; None: it is gone, or not a regular file."""
        try:
            # Opening a device may do something to it.
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return None
            descriptor = os.open(name, _FILE, dir_fd=folder)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            self._bytes += status.st_size
            if self._bytes > self._bounds.size:
                raise self._too_large(f"more than {self._bounds.size // 2**20} MiB")
            # Not more than that: it may grow meanwhile.
            return file.read(status.st_size)

    def _is_object(self, data: bytes, name: str) -> bool:
        """Return whether a single object has the content that its name says, and is not too large.

        Any other one is left out: if the commit needs it, git says that it is missing.
        """
        unpacking = zlib.decompressobj()
        try:
            content = unpacking.decompress(data, self._bounds.single + 32)
        except zlib.error:
            return False
        self._inflated += len(content)
        if self._inflated > self._bounds.unpacked:
            raise self._too_large(f"more than {self._bounds.unpacked // 2**20} MiB, unpacked,")
        header = _HEADER.match(content)
        whole = unpacking.eof and not unpacking.unused_data
        if not whole or header is None or len(content) != header.end() + int(header[1]):
            return False
        return hashlib.sha1(content, usedforsecurity=False).hexdigest() == name
