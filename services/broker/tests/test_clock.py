"""The clocks of this host, and a real timerfd."""

import asyncio
import os
import time
from errno import ECANCELED

import pytest

from services import timerfd
from services.broker.deadlines.clock import SECOND, Deadline, HostClock, Moment


def test_a_span_of_time_follows_the_clock_of_its_boot() -> None:
    moment = Moment(wall=1000 * SECOND, boot="a", since_boot=10 * SECOND)
    deadline = moment.after(5)
    assert deadline == Deadline(1005 * SECOND, "a", 15 * SECOND)
    set_back = Moment(wall=500 * SECOND, boot="a", since_boot=12 * SECOND)
    assert set_back.on_the_wall(deadline) == 503 * SECOND
    rebooted = Moment(wall=1003 * SECOND, boot="b", since_boot=99 * SECOND)
    assert rebooted.on_the_wall(deadline) == 1005 * SECOND
    assert Moment(7, "", 0).after(1) == Deadline(7 + SECOND)


def test_the_clocks_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVE_BOOT_ID", "b00t")
    clock = HostClock()
    first, second = clock.now(), clock.now()
    assert first.boot == "b00t"
    assert abs(first.wall - time.time() * SECOND) < 10 * SECOND
    assert 0 < first.since_boot <= second.since_boot
    monkeypatch.delenv("HIVE_BOOT_ID")
    assert HostClock().now().boot == ""


async def test_a_real_alarm_rings_in_time_and_can_be_set_anew() -> None:
    clock = HostClock()
    rang = asyncio.Event()
    alarm = clock.alarm(rang.set)
    try:
        alarm.set(clock.now().wall + 3600 * SECOND)
        at = clock.now().wall + SECOND // 20
        alarm.set(at)
        async with asyncio.timeout(10):
            await rang.wait()
        assert clock.now().wall >= at
        rang.clear()
        alarm.set(clock.now().wall - 3600 * SECOND)  # An alarm whose time has passed rings at once.
        async with asyncio.timeout(10):
            await rang.wait()
        rang.clear()
        for later in (None, 2**62, clock.now().wall + 3600 * SECOND):
            alarm.set(later)
            with pytest.raises(BlockingIOError):
                os.read(alarm.fileno(), 8)
    finally:
        alarm.close()


async def test_an_alarm_rings_when_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading and setting fail with ECANCELED then; here the error is simulated."""

    def cancelled(*args: object) -> bytes:
        raise OSError(ECANCELED, "Operation canceled")

    rang = asyncio.Event()
    alarm = HostClock().alarm(rang.set)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(timerfd, "set_time", cancelled)
            alarm.set(None)
        async with asyncio.timeout(10):
            await rang.wait()
        rang.clear()
        with monkeypatch.context() as patched:
            patched.setattr(os, "read", cancelled)
            alarm.set(1)
            async with asyncio.timeout(10):
                await rang.wait()
    finally:
        alarm.close()
