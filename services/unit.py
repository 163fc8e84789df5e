"""The life of a service, the same for every room. A `__main__.py` only does this:

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

The order is: set up the journal, connect, `build` (configuration, exports), own the name,
`Service.start`, READY=1. WATCHDOG=1 is sent at half of WatchdogSec. The service ends

- on SIGTERM or SIGINT: STOPPING=1; new calls are answered Stopping, and so are running ones after
  GRACE seconds (`Service.drain` may end them earlier); `Service.close`; disconnect; exit 0;
- when `Service.run` returns: the same, exit 0; when it raises: exit 1 with a traceback;
- when the bus is lost: exit 1, and systemd starts it again;
- when the disk is full, so that the store cannot be opened: one sentence in STATUS= and in the
  journal, exit 1 after PAUSE seconds, and systemd starts it again;
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
from enum import IntEnum
from functools import cache
from typing import Final, NoReturn

import sdnotify

from services import journal
from services.errors import ConfigError, DiskFull
from wire.bus import Bus
from wire.errors import CorruptStore, HiveError

log = logging.getLogger(__name__)

GRACE: Final = 1.0
"""Seconds that running calls may continue after STOPPING=1."""

PAUSE: Final = 5.0
"""Seconds that a service waits for room on the disk before its next start."""

MAX_STATUS: Final = 500
"""The characters of the line that `systemctl status` shows."""


class Exit(IntEnum):
    """The exit statuses of a service."""

    OK = 0
    FAILED = 1
    CONFIG = 78  # EX_CONFIG: starting again would not help


class Service:
    """A running service; a room overrides the methods that it needs."""

    async def start(self) -> None:
        """Start; called when the bus name is owned, before READY=1."""

    async def run(self) -> None:
        """Do the room's work apart from answering calls; cancelled at the end, before `close`."""
        await asyncio.get_running_loop().create_future()

    def drain(self) -> None:
        """End calls that would wait for longer than GRACE; called at STOPPING=1."""

    async def close(self) -> None:
        """Close; called once at the end, also after a failed `start`, when no call is running.

        The bus can still be called, unless the bus was lost.
        """


Build = Callable[[Bus], Awaitable[Service]]
"""Puts a service together on its connection; one without a configuration need not import it."""


def notify(state: str) -> None:
    """Send `state` to systemd; do nothing if systemd did not start this process."""
    # sdnotify encodes its text in Latin-1, and systemd takes UTF-8.
    _notifier().notify(state.encode().decode("latin-1"))


@cache
def _notifier() -> sdnotify.SystemdNotifier:
    return sdnotify.SystemdNotifier()


def status(text: str) -> None:
    """Set the line that `systemctl status` shows.

    It may repeat what others wrote. A newline in it would begin another field, such as MAINPID=,
    and systemd drops a notification of more than 4096 bytes.
    """
    notify(f"STATUS={_line(text)}")


def _line(text: str) -> str:
    """Return `text` on one line, without control characters and not too long."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_STATUS])
    line = " ".join(line.split())
    return line if len(line) <= MAX_STATUS else f"{line[: MAX_STATUS - 3]}..."


def main(name: str, build: Build, *, bus_name: str | None = None) -> NoReturn:
    """Run the service `name` and exit; see the module."""
    journal.setup(name)
    sys.exit(asyncio.run(serve(build, bus_name=bus_name)))


async def serve(build: Build, *, bus_name: str | None = None) -> Exit:
    """Run the service from its connection to its end, and return the exit status."""
    try:
        return await _Run(build, bus_name).run_to_end()
    except (ConfigError, CorruptStore) as error:
        log.error("%s", error)  # one sentence; a traceback would hide it
        status(str(error))
        return Exit.CONFIG
    except DiskFull as error:
        log.error("%s", error)
        status(str(error))
        # No event tells that the disk has room again.
        await asyncio.sleep(PAUSE)
        return Exit.FAILED
    except HiveError as error:
        log.error("%s", error)
        status(str(error))
        return Exit.FAILED
    except Exception:
        log.exception("failed")
        status("Failed; the journal has the traceback.")
        return Exit.FAILED


class _Run:
    def __init__(self, build: Build, bus_name: str | None) -> None:
        self._build = build
        self._bus_name = bus_name
        self._stop = asyncio.Event()

    async def run_to_end(self) -> Exit:
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
                return await self._wait(bus, service)
            finally:
                notify("STOPPING=1\nSTATUS=Stopping.")
                service.drain()
                await bus.drain(GRACE)
                await service.close()
        finally:
            await bus.close()

    async def _wait(self, bus: Bus, service: Service) -> Exit:
        """Wait for the first event that ends the service."""
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
            running = [task for task in tasks if not task.done()]
            for task in running:
                task.cancel()
            await asyncio.wait(tasks)
            for task in running:
                if not task.cancelled() and (error := task.exception()):
                    log.error("The task %s failed at its end.", task.get_name(), exc_info=error)


async def _feed_watchdog() -> None:
    """Send WATCHDOG=1 at half of the time that systemd waits, as long as the event loop runs."""
    wait_usec = int(os.environ.get("WATCHDOG_USEC", "0"))
    ours = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not wait_usec or not ours:
        await asyncio.get_running_loop().create_future()
    while True:
        notify("WATCHDOG=1")
        # systemd expects a ping at a pace: its absence is the event.
        await asyncio.sleep(wait_usec / 2_000_000)
