"""An alarm on the wall clock, which also rings when the clock was set.

alarm = TimerFdAlarm(rings)
alarm.set(at)              # microseconds since 1970
alarm.close()
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from errno import ECANCELED
from typing import Final, Protocol

from services import timerfd

_NEVER: Final = 2**32 * 1_000_000
"""The year 2106. An alarm is always set, for only a set alarm is told that the clock was set."""


class Alarm(Protocol):
    """An alarm that rings at a time that can be changed."""

    def set(self, at: int | None) -> None:
        """Ring when the wall clock shows `at`, in microseconds since 1970, or never for None."""

    def close(self) -> None:
        """Release the alarm; it never rings again."""


class TimerFdAlarm:
    """A timerfd on the wall clock."""

    def __init__(self, rings: Callable[[], None]) -> None:
        self._rings = rings
        self._loop = asyncio.get_running_loop()
        self._fd = timerfd.create()
        self._loop.add_reader(self._fd, self._ring)
        self.set(None)

    def fileno(self) -> int:
        """Return the descriptor, which is readable when the alarm rings."""
        return self._fd

    def set(self, at: int | None) -> None:
        """See Alarm."""
        at = _NEVER if at is None else min(max(at, 1), _NEVER)
        try:
            timerfd.set_time(self._fd, at * 1000)
        except OSError as error:
            if error.errno != ECANCELED:
                raise
            # The timer is set, but the clock was set since `at` was computed.
            self._loop.call_soon(self._rings)

    def close(self) -> None:
        """See Alarm."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        # Nothing to read: the timer was set again since it rang.
        with suppress(BlockingIOError):
            try:
                os.read(self._fd, 8)
            except OSError as error:
                if error.errno != ECANCELED:
                    raise
        self._rings()
