"""One timer for the nearest of all deadlines."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from services.alarm import Alarm
from services.broker.deadlines.clock import SECOND, Clock, Deadline, Moment
from services.broker.deadlines.table import DeadlineTable
from services.broker.storage.database import Database
from wire.errors import Unavailable

log = logging.getLogger(__name__)


class HasDeadlines(Protocol):
    """A kind of thing that has deadlines, such as questions."""

    table: DeadlineTable

    async def fall_due(self, moment: Moment) -> None:
        """Handle the first of those that are due at `moment`, and announce it.

        Raises:
            Unavailable: the store could not be used; nothing was changed.
        """


class Deadlines:
    """The timer of all deadlines, including those that passed while no broker ran."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._dated: list[HasDeadlines] = []
        self._alarm: Alarm | None = None
        # The time on the wall clock that the alarm is set to; None if it is not set.
        self._set_to: int | None = None
        self._rang = asyncio.Event()
        # The difference between the clocks when the deadlines on disk were last corrected.
        self._offset: int | None = None

    def watch(self, dated: HasDeadlines) -> None:
        """Handle the deadlines of `dated`, too; call this before `run`."""
        self._dated.append(dated)

    def now(self) -> Moment:
        """Return a reading of the clocks."""
        return self._clock.now()

    def added(self, deadline: Deadline) -> None:
        """Note a new deadline on disk. Deadlines that are gone need not be reported."""
        self._ring_at(self.now().on_the_wall(deadline))

    async def run(self) -> None:
        """Handle deadlines when they are due, until this is cancelled.

        When the store fails, this tries again after the next write that succeeds: the store may be
        usable then. Without any write the deadlines are late, not lost. Trying again by the clock
        would be polling.
        """
        self._alarm = self._clock.alarm(self._rang.set)
        try:
            while True:
                try:
                    await self._settle()
                except Unavailable as error:
                    log.warning("cannot handle deadlines until the store is writable: %s", error)
                    await self._database.written()
                else:
                    await self._rang.wait()
        finally:
            self._alarm.close()
            self._alarm = None

    async def _settle(self) -> None:
        """Handle all deadlines that are due, and set the alarm to the next one."""
        while True:
            self._rang.clear()
            # Deadlines that are added from now on may not be found on disk below.
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
    """Return the nearest deadline on the wall clock; correct all if that clock was set."""
    if was_set:
        for table in tables:
            table.follow(db, moment)
    times = [table.nearest(db, moment) for table in tables]
    return min((at for at in times if at is not None), default=None)
