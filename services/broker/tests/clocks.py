"""Clocks that a test sets."""

from collections.abc import Callable

from services.alarm import Alarm
from services.broker.deadlines.clock import SECOND, Moment

START = 1_800_000_000 * SECOND


class FakeClock:
    """The clocks of a host. Time passes only in `advance`, which rings the alarms that are due."""

    def __init__(self, boot: str = "first") -> None:
        self.wall = START
        self.boot = boot
        self.since_boot = 1000 * SECOND
        self.alarms: list[FakeAlarm] = []
        self.readings = 0

    def now(self) -> Moment:
        self.readings += 1
        return Moment(self.wall, self.boot, self.since_boot)

    def alarm(self, rings: Callable[[], None]) -> Alarm:
        alarm = FakeAlarm(self, rings)
        self.alarms.append(alarm)
        return alarm

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += round(seconds * SECOND)
        self.since_boot += round(seconds * SECOND)
        self._look()

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock forward, or back."""
        self.wall += round(seconds * SECOND)
        for alarm in list(self.alarms):
            alarm.rings()

    def reboot(self, boot: str, seconds: float) -> None:
        """Let the host be down for so long."""
        self.wall += round(seconds * SECOND)
        self.boot, self.since_boot = boot, 5 * SECOND
        self.alarms.clear()

    def _look(self) -> None:
        for alarm in list(self.alarms):
            if alarm.at is not None and alarm.at <= self.wall:
                alarm.at = None
                alarm.rings()


class FakeAlarm:
    def __init__(self, clock: FakeClock, rings: Callable[[], None]) -> None:
        self.at: int | None = None
        self.rings = rings
        self._clock = clock

    def set(self, at: int | None) -> None:
        self.at = at
        self._clock._look()

    def close(self) -> None:
        self._clock.alarms.remove(self)
