"""The clocks of the host.

docs/decisions/0005-clocks.md says which clock a deadline follows, and why.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from services.alarm import Alarm, TimerFdAlarm

SECOND: Final = 1_000_000
"""A second in the unit of all times here, microseconds."""

BOOT_ENVIRONMENT: Final = "HIVE_BOOT_ID"
"""Set by the unit (`%b`), for the service does not see /proc/sys."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on the wall clock, in microseconds since 1970; and, if it was given as a duration, on
    the clock of the boot in which it was given, in microseconds since that boot."""

    due: int
    boot: str | None = None
    boot_due: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """A reading of the clocks: `wall` in microseconds since 1970, and `since_boot` in microseconds
    since the boot `boot`, including suspend; `boot` is empty when it is not known."""

    wall: int
    boot: str
    since_boot: int

    def after(self, seconds: int) -> Deadline:
        """Return the deadline that is `seconds` away, even if the clock is set meanwhile."""
        duration = seconds * SECOND
        if not self.boot:
            return Deadline(self.wall + duration)
        return Deadline(self.wall + duration, self.boot, self.since_boot + duration)

    def on_the_wall(self, deadline: Deadline) -> int:
        """Return the reading of the wall clock at `deadline`, if nobody sets the clock."""
        if deadline.boot is None or deadline.boot_due is None or deadline.boot != self.boot:
            return deadline.due
        return self.wall + deadline.boot_due - self.since_boot


def in_words(at: int) -> str:
    """Return a time as people and models read it; `at` is in microseconds since 1970."""
    return f"{datetime.fromtimestamp(at // SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Clock(Protocol):
    """A source of the time."""

    def now(self) -> Moment:
        """Return a reading of the clocks."""

    def alarm(self, rings: Callable[[], None]) -> Alarm:
        """Make an alarm that calls `rings` when it is time.

        The alarm also calls `rings` when the wall clock was set, or the host was suspended, since
        the alarm was made: earlier readings of `now` are out of date then.
        """


class HostClock:
    """The clocks of this host."""

    def __init__(self) -> None:
        self._boot = os.environ.get(BOOT_ENVIRONMENT, "")

    def now(self) -> Moment:
        """See Clock."""
        since_boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        return Moment(time.time_ns() // 1000, self._boot, since_boot)

    def alarm(self, rings: Callable[[], None]) -> TimerFdAlarm:
        """See Clock; call it in a running loop."""
        return TimerFdAlarm(rings)
