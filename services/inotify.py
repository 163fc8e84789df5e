"""Waiting for changes in a directory with inotify, instead of polling.

with DirectoryWatch(Path("/run/hyperhive/gateway")) as watch:
    read()                      # after the watch has begun, so that no change is missed
    while True:
        await watch.change()
        read()
"""

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Final

# linux/inotify.h: IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE
_MASK: Final = 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200
_EVENTS: Final = 65536
"""The bytes of events that one read takes."""


class DirectoryWatch:
    """A watch for files that appear, change or go in a directory, from entry to exit."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._changed = asyncio.Event()
        self._fd = -1

    def __enter__(self) -> "DirectoryWatch":
        """Start to watch.

        Raises:
            OSError: the directory does not exist, or there are too many watches.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        path = os.fsencode(self._directory)
        if self._fd < 0 or libc.inotify_add_watch(self._fd, path, _MASK) < 0:
            error = ctypes.get_errno()
            self._close()
            raise OSError(error, os.strerror(error), str(self._directory))
        asyncio.get_running_loop().add_reader(self._fd, self._read)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self._close()

    async def change(self) -> None:
        """Wait for the next change; changes since the last call count as one."""
        await self._changed.wait()
        self._changed.clear()

    def _read(self) -> None:
        os.read(self._fd, _EVENTS)
        self._changed.set()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
