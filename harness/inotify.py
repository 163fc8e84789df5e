"""Waiting for a change in some directories with inotify, instead of polling."""

import asyncio
import ctypes
import os
from pathlib import Path
from types import TracebackType
from typing import Final

# linux/inotify.h: IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVED_TO, IN_CREATE
_MASK: Final = 0x4 | 0x8 | 0x80 | 0x100


class DirectoryWatch:
    """A watch for files that are created, written or moved in directories, from entry to exit."""

    def __init__(self, *directories: Path) -> None:
        self._directories = directories
        self._changed = asyncio.Event()
        self._fd = -1

    def __enter__(self) -> "DirectoryWatch":
        """Start to watch.

        Raises:
            OSError: a directory does not exist, or there are too many watches.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for directory in self._directories:
            path = os.fsencode(directory)
            if self._fd < 0 or libc.inotify_add_watch(self._fd, path, _MASK) < 0:
                error = ctypes.get_errno()
                self._close()
                raise OSError(error, os.strerror(error), str(directory))
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

    async def change(self, timeout: float | None = None) -> bool:
        """Wait for the next change; return False if there is none within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _read(self) -> None:
        os.read(self._fd, 65536)
        self._changed.set()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def wait_for_change(directory: Path, timeout: float) -> None:
    """Wait for the next change in `directory`, but not longer than `timeout` seconds."""
    try:
        with DirectoryWatch(directory) as watch:
            await watch.change(timeout)
    except OSError:
        # There is no such directory, so that no event can end the wait.
        await asyncio.sleep(timeout)
