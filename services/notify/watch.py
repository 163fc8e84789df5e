"""One source is asked when there may be news: at the start, after its signals, when it is back.

Subscribed before it asks, it misses nothing; what happened while it was down is in the list.
"""

import asyncio
import logging
from typing import Final

from services.notify.notifier import Notifier
from services.notify.sources import Source
from wire.bus import Bus
from wire.errors import HiveError, Stopping, Unavailable
from wire.signals import DAEMON, Signal

log = logging.getLogger(__name__)

AGAIN: Final = 60.0
"""Seconds until a service is asked again that is there but could not answer."""


class Watch:
    """Keeps the notifier told of one source."""

    def __init__(self, bus: Bus, source: Source, notifier: Notifier) -> None:
        self._bus = bus
        self._source = source
        self._notifier = notifier
        self._wake = asyncio.Event()
        self._whole = True
        self._newest = 0

    async def run(self) -> None:
        """Go on until cancelled. Raises Unavailable when it cannot subscribe."""
        owner = {"sender": DAEMON, "interface": DAEMON, "member": "NameOwnerChanged"}
        subscriptions = [
            await self._bus.on_signal(self._owner_changed, **owner, arg0=self._source.service)
        ]
        try:
            for rule in self._source.rules:
                subscriptions.append(
                    await self._bus.on_signal(self._heard, sender=self._source.service, **rule)
                )
            while True:
                self._wake.clear()
                await self._wait(None if await self._ask() else AGAIN)
        finally:
            for subscription in subscriptions:
                await subscription.close()

    async def _wait(self, limit: float | None) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _ask(self) -> bool:
        """Ask once; answers whether nothing is left to ask for until something happens."""
        whole, self._whole = self._whole, False
        try:
            listed = await self._source.fetch(self._bus, 0 if whole else self._newest)
        except HiveError as error:
            self._whole = True
            # One that is away says so when it is back, and is not to be started by us.
            away = isinstance(error, Unavailable | Stopping)
            log.warning(
                "%s cannot be asked for %s: %s", self._source.service, self._source.name, error
            )
            return away
        numbers = [one.number for one in listed]
        self._newest = max([0 if whole else self._newest, *numbers])
        self._notifier.take(self._source.name, listed, whole=whole)
        return True

    def _heard(self, signal: Signal) -> None:
        if self._source.concerns(signal):
            self._wake.set()

    def _owner_changed(self, signal: Signal) -> None:
        """Nobody is asked who has just left: that would start it again."""
        if signal.args[2]:
            self._whole = True
            self._wake.set()
