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
from wire.errors import Unavailable

T = TypeVar("T")

STATE: Final = "/var/lib/hyperhive/broker"
"""Where the store is, unless systemd says another directory."""
FILE: Final = "broker.sqlite"


class Database:
    """Made by `open` in a running event loop."""

    def __init__(self, path: Path, writer: Writer, reader: sqlite3.Connection) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        # History may take its time without making a Send wait: it has a thread of its own.
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker-reader")
        self._written = asyncio.Event()

    @classmethod
    def open(cls, path: Path, alive: Callable[[], None] = lambda: None) -> "Database":
        """The database at `path`, made when there is none, migrated when it is older.

        `alive` is called now and then while that goes on.

        Raises:
            CorruptStore: it cannot be used; it is untouched.
        """
        db = schema.connect(path, alive)
        return cls(path, Writer(db), schema.connect_reader(path))

    async def close(self) -> None:
        """Write what is waiting and close the file."""
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close()
        # Last, so that sqlite folds its log into the file.
        await self._writer.close()

    async def write(self, job: Job[T]) -> T:
        """Do `job` in a transaction, in the order of the calls; returns when it is on disk.

        Raises:
            Unavailable: it could not be written; then nothing of it was.
            Exception: what the job raised.
        """
        result = await self._checked(lambda: self._writer.run(job))
        self._written.set()
        return result

    async def written(self) -> None:
        """Wait until some later write has succeeded. One at a time may wait."""
        self._written.clear()
        await self._written.wait()

    async def read(self, job: Job[T]) -> T:
        """Do `job`, which only reads; it sees what was on disk when it began.

        Raises:
            Unavailable: it could not be read.
        """
        loop = asyncio.get_running_loop()
        return await self._checked(
            lambda: loop.run_in_executor(self._reading, partial(job, self._reader))
        )

    async def _checked(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except sqlite3.Error as error:
            raise Unavailable(
                f"The message store {self.path} could not be used: {error}; nothing was changed. "
                "See to the disk (df, journalctl -u hive-broker), then try again."
            ) from error


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def as_list(ids: Collection[int]) -> str:
    """Ids as one parameter, for `IN (SELECT value FROM json_each(?))`."""
    return json.dumps(list(ids))
