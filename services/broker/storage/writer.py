"""Group commit: one thread writes, and all jobs that wait share a commit.

docs/decisions/0002-group-commit.md says why it is a thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
"""A function that is called within a transaction. It may be called twice, so it must have no other
effects; it must raise its own errors before it writes."""

_Entry = tuple[Job[Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, Exception | None]

GROUP: Final = 512
"""The most jobs in one commit, so that the first of them does not wait forever."""


class Writer:
    """The connection that writes, and its thread; make it in a running event loop."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="broker-writer")
        self._thread.start()

    async def run(self, job: Job[T]) -> T:
        """Do `job` in a transaction, in the order of the calls; return when it is on disk.

        Raises:
            sqlite3.Error: it could not be written; nothing of it was.
            Exception: the job raised it.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return await future

    async def close(self) -> None:
        """Do the waiting jobs, then close the connection. No job may be run afterwards."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while group := self._next_group():
            outcomes = self._commit(group)
            self._loop.call_soon_threadsafe(_settle, outcomes)
        self._db.close()

    def _next_group(self) -> list[_Entry]:
        """Wait for jobs and return them; return none when it is time to stop."""
        group: list[_Entry] = []
        while len(group) < GROUP and (not group or not self._jobs.empty()):
            entry = self._jobs.get()
            if entry is None:
                if group:
                    self._jobs.put(None)  # Stop after this group.
                break
            group.append(entry)
        return group

    def _commit(self, group: list[_Entry]) -> list[_Outcome]:
        try:
            return self._attempt(group)
        except sqlite3.Error as error:
            # If even this fails, so does the next BEGIN, which leads here again. The thread must
            # not end, or all callers would wait forever.
            with suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            if len(group) == 1:
                return [(group[0][1], None, error)]
            # One of them cannot be written: a disk that is nearly full takes small jobs, not a
            # large one. Try each alone, so that the others do not fail with it.
            return [outcome for entry in group for outcome in self._commit([entry])]

    def _attempt(self, group: list[_Entry]) -> list[_Outcome]:
        outcomes: list[_Outcome] = []
        self._db.execute("BEGIN IMMEDIATE")
        for job, future in group:
            try:
                outcomes.append((future, job(self._db), None))
            except sqlite3.Error:
                raise
            except Exception as error:
                outcomes.append((future, None, error))
        self._db.execute("COMMIT")
        return outcomes


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if future.cancelled():
            continue  # Its caller was cancelled; the job is done nevertheless.
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
