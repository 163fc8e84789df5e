"""One timer for the nearest deadline of all that has some."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from services.broker.deadlines.clock import SECOND, Alarm, Clock, Deadline, Moment
from services.broker.deadlines.table import DeadlineTable
from services.broker.storage.database import Database
from wire.errors import Unavailable

log = logging.getLogger(__name__)


class HasDeadlines(Protocol):
    """Something that has deadlines."""

    table: DeadlineTable

    async def fall_due(self, moment: Moment) -> None:
        """Do what is to be done about the first of those that are due at `moment`, and tell.

        Raises:
            Unavailable: the store could not be used; nothing was changed.
        """


class Deadlines:
    """Sees that what has a deadline falls due: also what did so while nobody looked."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._dated: list[HasDeadlines] = []
        self._alarm: Alarm | None = None
        # What the alarm is set to, on the wall clock; None: to nothing.
        self._set_to: int | None = None
        self._rang = asyncio.Event()
        # By how much the clocks differed when the deadlines on disk were last put right.
        self._offset: int | None = None

    def watch(self, dated: HasDeadlines) -> None:
        """See to the deadlines of `dated`, too; before `run`."""
        self._dated.append(dated)

    def now(self) -> Moment:
        """What the clocks show."""
        return self._clock.now()

    def added(self, deadline: Deadline) -> None:
        """There is a new deadline on disk. None needs be told that is no longer there."""
        self._ring_at(self.now().on_the_wall(deadline))

    async def run(self) -> None:
        """Let everything fall due in time, until it is cancelled.

        When the store fails, the first write that succeeds tells that it may be in order again.
        To try by the clock would be polling; and as long as nobody writes, nobody waits for the
        broker either, but for deadlines: those are late, not lost.
        """
        self._alarm = self._clock.alarm(self._rang.set)
        try:
            while True:
                try:
                    await self._settle()
                except Unavailable as error:
                    log.warning("deadlines wait until the store can be written: %s", error)
                    await self._database.written()
                else:
                    await self._rang.wait()
        finally:
            self._alarm.close()
            self._alarm = None

    async def _settle(self) -> None:
        """Let fall due what is due, and set the alarm to what is next."""
        while True:
            self._rang.clear()
            # Whatever `added` says from now on may be newer than what is found on disk.
            self._set_to = None
            moment = self.now()
            nearest = await self._look(moment)
            if nearest is None or nearest > moment.wall:
                break
            for dated in self._dated:
                await dated.fall_due(moment)
        if nearest is not None:
            self._ring_at(nearest)

    async def _look(self, moment: Moment) -> int | None:
        tables = [dated.table for dated in self._dated]
        offset = moment.wall - moment.since_boot
        was_set = self._offset is None or abs(offset - self._offset) > SECOND
        look = partial(_look, tables=tables, moment=moment, was_set=was_set)
        nearest = await self._database.write(look)
        if was_set:
            self._offset = offset
        return nearest

    def _ring_at(self, at: int) -> None:
        if self._set_to is None or at < self._set_to:
            self._set_to = at
            if self._alarm is not None:
                self._alarm.set(at)


def _look(
    db: sqlite3.Connection, *, tables: Sequence[DeadlineTable], moment: Moment, was_set: bool
) -> int | None:
    """The nearest deadline on the wall clock; after that was set, those on disk are put right."""
    if was_set:
        for table in tables:
            table.follow(db, moment)
    times = [table.nearest(db, moment) for table in tables]
    return min((at for at in times if at is not None), default=None)
