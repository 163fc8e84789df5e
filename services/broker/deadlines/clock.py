"""The clocks of the host, and an alarm on them.

docs/decisions/0005-clocks.md says which clock a deadline follows, and why.
"""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ECANCELED
from typing import Final, Protocol

from services.broker.deadlines import timerfd

SECOND: Final = 1_000_000
"""In the unit of all times here: microseconds."""

BOOT_ENVIRONMENT: Final = "HIVE_BOOT_ID"
"""Set by the unit (`%b`): the service itself sees nothing of /proc/sys."""

_NEVER: Final = 2**32 * SECOND
"""In the year 2106. An alarm is always set, for only one that is set hears of a set clock."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on the wall clock, in microseconds since 1970, and for one that was given as a span
    of time also on the clock of the boot it was given in, in microseconds since that boot."""

    due: int
    boot: str | None = None
    boot_due: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks show: `wall` in microseconds since 1970, and `since_boot` in microseconds
    since the boot `boot`, sleep included; `boot` is empty when it is not known."""

    wall: int
    boot: str
    since_boot: int

    def after(self, seconds: int) -> Deadline:
        """The deadline that is `seconds` away, however the clock is set meanwhile."""
        duration = seconds * SECOND
        if not self.boot:
            return Deadline(self.wall + duration)
        return Deadline(self.wall + duration, self.boot, self.since_boot + duration)

    def on_the_wall(self, deadline: Deadline) -> int:
        """What the wall clock will show then, if nobody sets it."""
        if deadline.boot is None or deadline.boot_due is None or deadline.boot != self.boot:
            return deadline.due
        return self.wall + deadline.boot_due - self.since_boot


def in_words(at: int) -> str:
    """A time for people and models; `at` is in microseconds since 1970."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Alarm(Protocol):
    """Rings at a time that can be changed."""

    def set(self, at: int | None) -> None:
        """Ring when the wall clock shows `at`, in microseconds since 1970, or never."""

    def close(self) -> None:
        """Ring no more."""


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> Moment:
        """What the clocks show."""

    def alarm(self, rings: Callable[[], None]) -> Alarm:
        """An alarm that calls `rings` when it is time, and whenever the wall clock was set or the
        host slept since it was made: then what `now` said before is no longer true."""


class HostClock:
    """The clocks of this host."""

    def __init__(self) -> None:
        self._boot = os.environ.get(BOOT_ENVIRONMENT, "")

    def now(self) -> Moment:
        """See Clock."""
        since_boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        return Moment(time.time_ns() // 1000, self._boot, since_boot)

    def alarm(self, rings: Callable[[], None]) -> "TimerFdAlarm":
        """See Clock; call it in a running loop."""
        return TimerFdAlarm(rings)


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
            # It is set, but the clock was set since `at` was found out.
            self._loop.call_soon(self._rings)

    def close(self) -> None:
        """See Alarm."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _ring(self) -> None:
        # Nothing to read: it was set anew since it rang.
        with suppress(BlockingIOError):
            try:
                os.read(self._fd, 8)
            except OSError as error:
                if error.errno != ECANCELED:
                    raise
        self._rings()
