"""Retention and backups of the store."""

import asyncio
from contextlib import suppress
from typing import Final

from services.broker.maintenance import retention
from services.broker.maintenance.backup import Backups
from services.broker.storage.database import Database, now
from services.tasks import Tasks
from wire.errors import Stopping

_DAY_US: Final = 24 * 3600 * 1_000_000


class Maintenance:
    """The long work on the store that callers ask for."""

    def __init__(self, database: Database, keep_days: int) -> None:
        """Make it in a running loop; `keep_days` is how long finished things are kept."""
        self._database = database
        self._keep_days = keep_days
        self._backups = Backups(database.path)
        self._vacuuming: asyncio.Task[int] | None = None
        self._tasks = Tasks()

    async def close(self) -> None:
        """End the running work; call this before the store is closed."""
        self._backups.stop()
        if self._vacuuming is not None:
            self._vacuuming.cancel()
        await self._tasks.wait()

    async def vacuum(self) -> int:
        """Delete finished rows that are older than `keep_days`; return how many.

        A call during another one waits for that one, and gets the same answer.

        Raises:
            Stopping: the broker stops; the rows that were deleted are gone.
            Unavailable: the store could not be written.
        """
        if self._vacuuming is None or self._vacuuming.done():
            cutoff = now() - self._keep_days * _DAY_US
            self._vacuuming = self._tasks.start(retention.delete(self._database, cutoff))
        with suppress(asyncio.CancelledError):
            return await asyncio.shield(self._vacuuming)
        if self._vacuuming.cancelled():
            raise Stopping("The broker is stopping; try again.")
        raise asyncio.CancelledError

    async def backup(self, name: str) -> str:
        """Copy the store to the file `name` in its directory `backups`; return the file's path.

        The errors are those of Backups.make.
        """
        return str(await self._tasks.finish(self._backups.make(name)))
