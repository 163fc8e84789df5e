"""Commits put on the disk in a thread, so that no request waits for the disk on the event loop.

A commit with `synchronous=NORMAL` is in the log of sqlite, which outlives the process. It is on the
disk when the log is: all commits that wait share one sync of the log, as those of a writer thread
would share a commit (docs/decisions/0002-group-commit.md), but the event loop writes meanwhile.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

from services import sqlite
from wire.errors import Unavailable

CHECKPOINT: Final = 100
"""The syncs after which the log is moved into the file. sqlite would do it on the event loop."""


class Disk:
    """The thread that syncs the log of one store."""

    def __init__(self, path: Path, unavailable: Callable[[Exception], Unavailable]) -> None:
        """Make the thread.

        Args:
            path: the store, in WAL mode.
            unavailable: returns the error for a sync that failed.
        """
        self._log = path.with_name(path.name + "-wal")
        self._unavailable = unavailable
        self._db = sqlite.open_quick_writer(path, threads=True)
        self._descriptor = -1
        self._syncs = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger-disk")
        self._next: asyncio.Future[None] | None = None
        self._busy = False

    def close(self) -> None:
        """Finish the sync under way. Those who wait for the next one are cancelled."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._thread.shutdown()
        self._db.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    async def synced(self) -> None:
        """Wait until all that is committed now is on the disk.

        Raises:
            Unavailable: the disk has failed.
        """
        waiting = self._next or asyncio.get_running_loop().create_future()
        if self._busy:
            self._next = waiting
        else:
            self._begin(waiting)
        await asyncio.shield(waiting)  # others wait for it, too

    def _begin(self, waiting: "asyncio.Future[None]") -> None:
        """Sync for those who wait; who comes from now on waits for the next sync."""
        self._next, self._busy = None, True
        syncing = asyncio.get_running_loop().run_in_executor(self._thread, self._sync)
        syncing.add_done_callback(lambda done: self._ended(waiting, done))

    def _ended(self, waiting: "asyncio.Future[None]", done: "asyncio.Future[None]") -> None:
        self._busy = False
        error = done.exception()
        if isinstance(error, Exception):
            waiting.set_exception(self._unavailable(error))
            waiting.exception()  # those who waited may all have gone
        else:
            waiting.set_result(None)
        if self._next is not None:
            self._begin(self._next)

    def _sync(self) -> None:
        if self._descriptor < 0:
            # sqlite keeps the log as long as a connection is open, and locks another file.
            self._descriptor = os.open(self._log, os.O_RDWR | os.O_CLOEXEC)
        os.fdatasync(self._descriptor)
        self._syncs += 1
        if self._syncs % CHECKPOINT == 0:
            # All is on the disk already: a log that cannot be moved now is moved some time later.
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
