"""Keeps the store in order: throws away what is old, and makes copies."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from services.broker.maintenance import retention
from services.broker.maintenance.backup import Backups
from services.broker.storage.database import Database, now
from wire.errors import Stopping

T = TypeVar("T")

_DAY_US: Final = 24 * 3600 * 1_000_000


class Maintenance:
    """Retention and backups."""

    def __init__(self, database: Database, keep_days: int) -> None:
        """Made in a running loop."""
        self._database = database
        self._keep_days = keep_days
        self._backups = Backups(database.path)
        self._vacuuming: asyncio.Task[int] | None = None
        self._running: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """End what goes on; the store must not be closed before."""
        self._backups.stop()
        if self._vacuuming is not None:
            self._vacuuming.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def vacuum(self) -> int:
        """Delete what is done and older than `keep_days`; returns how many rows that were.

        Who asks while that goes on waits for the same, and gets the same answer.

        Raises:
            Stopping: the broker stops; what was deleted is gone.
            Unavailable: it could not be written.
        """
        if self._vacuuming is None or self._vacuuming.done():
            cutoff = now() - self._keep_days * _DAY_US
            self._vacuuming = self._start(retention.delete(self._database, cutoff))
        with suppress(asyncio.CancelledError):
            return await asyncio.shield(self._vacuuming)
        if self._vacuuming.cancelled():
            raise Stopping("The broker is stopping; ask again.")
        raise asyncio.CancelledError

    async def backup(self, path: str) -> str:
        """Copy the store to the file `path` in its directory `backups` while it is used.

        Returns where that is. See Backups.make for the errors.
        """
        return str(await asyncio.shield(self._start(self._backups.make(path))))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do `work` to its end, also when its caller leaves the bus meanwhile."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task
