"""Changes in directories, as the kernel reports them (inotify(7)), instead of polling.

with DirectoryWatch(Path("/run/hyperhive/gateway")) as watch:
    read()                      # after the watch has begun, so that no change is missed
    while True:
        await watch.change()
        read()

watch = Watch(changed)
watch.set({Path("/etc"): {"resolv.conf"}})
...
watch.close()
"""

import asyncio
import ctypes
import logging
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

log = logging.getLogger(__name__)

_EVENT: Final = struct.Struct("=iIII")
_OVERFLOW: Final = 0x4000
_CHANGES: Final = 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800
"""IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE, IN_DELETE_SELF,
IN_MOVE_SELF."""
_ONLYDIR: Final = 0x01000000
_BUFFER: Final = 65536

_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """A watch on directories: it calls a function after changes in them."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Watch nothing yet.

        Args:
            changed: called in the event loop, once for changes that come together.

        Raises:
            OSError: the host has no inotify instance left.
        """
        self._changed = changed
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
        self._names: dict[int, frozenset[str] | None] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def set(self, directories: Mapping[Path, Iterable[str] | None]) -> None:
        """Watch these directories, and no others.

        Args:
            directories: the names in each whose changes count; None for all. A directory that does
                not exist is left out.
        """
        before, self._names = self._names, {}
        for directory, names in directories.items():
            try:
                number = self._add(directory)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                log.error("changes in %s are not noticed: %s", directory, error.strerror)
                continue
            known = self._names.get(number, frozenset())
            # Two paths may lead to one directory.
            both = None if names is None or known is None else known | frozenset(names)
            self._names[number] = both
        for number in before.keys() - self._names.keys():
            _libc.inotify_rm_watch(self._fd, number)  # fails if the directory is gone

    def add(self, directory: Path) -> None:
        """Watch all names in a directory, in addition to the watched ones.

        Raises:
            OSError: the directory does not exist, or there are too many watches.
        """
        self._names[self._add(directory)] = None

    def close(self) -> None:
        """Stop watching."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _add(self, directory: Path) -> int:
        path, mask = os.fsencode(directory), _CHANGES | _ONLYDIR
        return _checked(_libc.inotify_add_watch(self._fd, path, mask), str(directory))

    def _read(self) -> None:
        counts = False
        while True:
            try:
                data = os.read(self._fd, _BUFFER)
            except BlockingIOError:
                break
            while data:
                number, mask, _, length = _EVENT.unpack_from(data)
                end = _EVENT.size + length
                name = os.fsdecode(data[_EVENT.size : end].rstrip(b"\0"))
                data = data[end:]
                counts = counts or self._counts(number, mask, name)
        if counts:
            self._changed()

    def _counts(self, number: int, mask: int, name: str) -> bool:
        if mask & _OVERFLOW:
            return True  # events are lost
        names = self._names.get(number, frozenset())
        # An event without a name is about the directory itself.
        return names is None or name in names or (not name and number in self._names)


class DirectoryWatch:
    """A watch for files that appear, change or go in a directory, from entry to exit."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed = asyncio.Event()
        self._watch: Watch | None = None

    def __enter__(self) -> "DirectoryWatch":
        """Start to watch.

        Raises:
            OSError: the directory does not exist, or there are too many watches.
        """
        self._watch = Watch(self._changed.set)
        try:
            self._watch.add(self._directory)
        except OSError:
            self._watch.close()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.close()

    async def change(self) -> None:
        """Wait for the next change; changes since the last call count as one."""
        await self._changed.wait()
        self._changed.clear()


def _checked(result: int, path: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return result
