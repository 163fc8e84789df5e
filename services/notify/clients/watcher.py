"""The watcher of one source: asks it at the start, after its signals, and when its service is back.

A watcher subscribes before it asks, so it misses nothing. Items that appeared while notify was down
are in the list.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from services.notify.clients.sources import Source
from services.notify.notifier import Notifier
from wire.bus import Bus
from wire.errors import HiveError, Stopping, Unavailable
from wire.signals import Signal

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 60.0
"""The wait until a service is asked again that runs but could not answer."""


class Watcher:
    """Gives the notifier the items of one source."""

    def __init__(self, bus: Bus, source: Source, notifier: Notifier) -> None:
        self._bus = bus
        self._source = source
        self._notifier = notifier
        self._wake = asyncio.Event()
        self._complete = True
        """Whether to ask for the complete list, and not only for newer items."""
        self._newest = 0

    async def run(self) -> None:
        """Watch until cancelled. Raises Unavailable when it cannot subscribe."""
        # A service that has left is not asked: a call would start it.
        subscriptions = [await self._bus.on_owner(self._source.service, came=self._owner_came)]
        try:
            for rule in self._source.rules:
                subscriptions.append(
                    await self._bus.on_signal(self._receive, sender=self._source.service, **rule)
                )
            while True:
                self._wake.clear()
                await self._wait(None if await self._ask() else RETRY_SECONDS)
        finally:
            for subscription in subscriptions:
                await subscription.close()

    async def _wait(self, limit: float | None) -> None:
        """Wait until there may be something new, at most `limit` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._wake.wait()

    async def _ask(self) -> bool:
        """Ask once; return False when the source must be asked again without a signal."""
        complete, self._complete = self._complete, False
        try:
            listed = await self._source.fetch(self._bus, 0 if complete else self._newest)
        except HiveError as error:
            self._complete = True
            log.warning("cannot ask %s for %s: %s", self._source.service, self._source.name, error)
            # A service that is down is not asked again: a call would start it, and its next owner
            # of the name wakes us.
            return isinstance(error, Unavailable | Stopping)
        numbers = [one.number for one in listed]
        self._newest = max([0 if complete else self._newest, *numbers])
        self._notifier.process(self._source.name, listed, complete=complete)
        return True

    def _receive(self, signal: Signal) -> None:
        try:
            concerned = self._source.concerns(signal)
        except HiveError:
            concerned = True  # the service is of another version; its answer will say so
        if concerned:
            self._wake.set()

    def _owner_came(self, _owner: str) -> None:
        self._complete = True
        self._wake.set()
