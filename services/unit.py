"""A service's life, the same for every room: a `__main__.py` is nothing but this.

    class BrokerService(Service):
        def __init__(self, broker: Broker) -> None: ...
        async def close(self) -> None:
            await self._broker.close()

    async def build(bus: Bus, config: Config) -> Service:
        broker = await Broker.open(config.broker)
        bus.export(names.BROKER_PATH, Broker1(broker))
        return BrokerService(broker)

    if __name__ == "__main__":
        unit.main("broker", lambda bus: build(bus, Config.load()), bus_name=names.BROKER)

What happens: journal, connection, `build` (configuration, exports), the name is owned,
`Service.start`, READY=1. WATCHDOG=1 is sent at half of WatchdogSec. It ends

- on SIGTERM or SIGINT: STOPPING=1, new calls are answered Stopping, running ones after GRACE
  seconds too (`Service.drain` may end them earlier), `Service.close`, the connection: exit 0;
- when `Service.run` returns: the same, exit 0; when it raises: exit 1 with a traceback;
- when the bus is lost: exit 1, and systemd starts it again;
- when configuration or store cannot be used (ConfigError, CorruptStore): one sentence in STATUS=
  and in the journal, exit 78 (the unit has RestartPreventExitStatus=78).

`unit.status("3 agents")` sets the line that `systemctl status` shows.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from functools import cache
from typing import Final, NoReturn

import sdnotify

from services import journal
from services.errors import ConfigError
from wire.bus import Bus
from wire.errors import CorruptStore, HiveError

log = logging.getLogger(__name__)

GRACE: Final = 1.0
"""How long running calls may go on after STOPPING=1, in seconds."""


class Exit(IntEnum):
    """How the process ends."""

    OK = 0
    FAILED = 1
    CONFIG = 78  # EX_CONFIG: starting again would not help


class Service:
    """A running room; override what it needs."""

    async def start(self) -> None:
        """Called once the bus name is owned, before READY=1."""

    async def run(self) -> None:
        """The room's own work besides answering calls. Cancelled at the end, before `close`."""
        await asyncio.get_running_loop().create_future()

    def drain(self) -> None:
        """Called at STOPPING=1: end whatever would wait for longer than GRACE."""

    async def close(self) -> None:
        """Called once at the end, also after a failed `start`, when no call is running any more.

        The bus can still be called, unless it is what was lost.
        """


Build = Callable[[Bus], Awaitable[Service]]
"""Puts a room together on its connection; a room without a configuration imports none."""


def notify(state: str) -> None:
    """Tell systemd; without it, nobody."""
    _notifier().notify(state)


@cache
def _notifier() -> sdnotify.SystemdNotifier:
    return sdnotify.SystemdNotifier()


def status(text: str) -> None:
    """Set the line that `systemctl status` shows."""
    notify(f"STATUS={text}")


def main(name: str, build: Build, *, bus_name: str | None = None) -> NoReturn:
    """Live the life of the service `name` and exit; see the module."""
    journal.setup(name)
    sys.exit(asyncio.run(serve(build, bus_name=bus_name)))


async def serve(build: Build, *, bus_name: str | None = None) -> Exit:
    """The life between set-up and exit; returns the exit status."""
    try:
        return await _Life(build, bus_name).live()
    except (ConfigError, CorruptStore) as error:
        log.error("%s", error)  # one sentence; a traceback would hide it
        status(str(error))
        return Exit.CONFIG
    except HiveError as error:
        log.error("%s", error)
        status(str(error))
        return Exit.FAILED
    except Exception:
        log.exception("failed")
        status("Failed; the journal has the traceback.")
        return Exit.FAILED


class _Life:
    def __init__(self, build: Build, bus_name: str | None) -> None:
        self._build = build
        self._bus_name = bus_name
        self._stop = asyncio.Event()

    async def live(self) -> Exit:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        bus = await Bus.connect()
        try:
            service = await self._build(bus)
            try:
                if self._bus_name:
                    await bus.own(self._bus_name)
                await service.start()
                notify("READY=1\nSTATUS=Running.")
                return await self._run(bus, service)
            finally:
                notify("STOPPING=1\nSTATUS=Stopping.")
                service.drain()
                await bus.drain(GRACE)
                await service.close()
        finally:
            await bus.close()

    async def _run(self, bus: Bus, service: Service) -> Exit:
        """Wait for the first of the ways in which a service ends."""
        work = asyncio.create_task(service.run(), name="service")
        stop = asyncio.create_task(self._stop.wait(), name="stop")
        watchdog = asyncio.create_task(_feed_watchdog(), name="watchdog")
        tasks = (work, stop, watchdog)
        try:
            await asyncio.wait((*tasks, bus.disconnected), return_when=asyncio.FIRST_COMPLETED)
            if bus.disconnected.done():
                log.error("the connection to the bus was lost: %s", bus.disconnected.result())
                return Exit.FAILED
            for task in tasks:
                if task.done():
                    task.result()
            return Exit.OK
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError, Exception):
                    await task


async def _feed_watchdog() -> None:
    """WATCHDOG=1 at half of the time systemd waits for it, as long as the loop turns."""
    wait_usec = int(os.environ.get("WATCHDOG_USEC", "0"))
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not wait_usec or not ours:
        await asyncio.get_running_loop().create_future()
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(wait_usec / 2_000_000)
