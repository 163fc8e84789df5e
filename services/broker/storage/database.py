"""The sqlite file of the broker: one thread writes to it, another one reads."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from services.broker.storage import schema
from services.broker.storage.writer import Job, Writer

T = TypeVar("T")

FILE: Final = "broker.sqlite"

LAST_ID: Final = 2**63 - 1
"""The greatest integer of sqlite, so no id is greater."""
MAX_UINT64: Final = 2**64 - 1
"""The greatest id that the bus can carry."""


class Database:
    """The open store; make it with `open`, in a running event loop."""

    def __init__(self, path: Path, writer: Writer, reader: sqlite3.Connection) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # Reads have a thread of their own: a slow search does not hold up a Send.
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-reader")
        self._written = asyncio.Event()

    @classmethod
    def open(cls, path: Path, alive: Callable[[], None] | None = None) -> "Database":
        """Open the store at `path`; make it if there is none, and migrate it if it is older.

        Args:
            path: its directory must exist.
            alive: called now and then while that goes on.

        Raises:
            CorruptStore: the store cannot be used; it is untouched.
        """
        db = schema.connect(path, alive)
        return cls(path, Writer(db), schema.connect_reader(path))

    async def close(self) -> None:
        """Finish the waiting writes and close the file."""
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close()
        # Last, so that sqlite folds its log into the file.
        await self._writer.close()

    async def write(self, job: Job[T]) -> T:
        """Do `job` in a transaction, in the order of the calls; return when it is on disk.

        Raises:
            Unavailable: it could not be written; nothing of it was.
            Exception: the job raised it.
        """
        result = await self._checked(lambda: self._writer.run(job))
        self._written.set()
        return result

    async def written(self) -> None:
        """Wait until some later write has succeeded. Only one caller at a time may wait."""
        self._written.clear()
        await self._written.wait()

    async def read(self, job: Job[T]) -> T:
        """Do `job`, which only reads; it sees everything that was on disk when it began.

        Raises:
            Unavailable: the store could not be read.
        """
        loop = asyncio.get_running_loop()
        return await self._checked(
            lambda: loop.run_in_executor(self._reading, partial(job, self._reader))
        )

    async def _checked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except sqlite3.Error as error:
            raise schema.FORMAT.unavailable(self.path, error) from error


def now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def as_list(ids: Collection[int]) -> str:
    """Return ids as one parameter, for `IN (SELECT value FROM json_each(?))`."""
    return json.dumps(list(ids))
