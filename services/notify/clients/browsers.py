"""The browsers that want notifications, as the dashboard lists them."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from wire import names
from wire.bus import Bus
from wire.clients.dashboard import DashboardClient
from wire.errors import HiveError, Stopping, Unavailable
from wire.records.dashboard import PushTarget
from wire.signals import Signal

log = logging.getLogger(__name__)

RETRY_SECONDS = 60.0
"""The wait until the dashboard is asked again when it runs but could not answer."""


class Browsers:
    """Follows the list. The last one stays while the dashboard is away."""

    def __init__(self, bus: Bus, on_listed: Callable[[str, Sequence[PushTarget]], None]) -> None:
        """Call `on_listed` with the key and the browsers, after each answer of the dashboard."""
        self._bus = bus
        self._on_listed = on_listed
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled. Raises Unavailable when it cannot subscribe."""
        subscriptions = [
            await self._bus.on_owner(names.DASHBOARD, came=lambda _: self._wake.set()),
            await self._bus.on_signal(
                self._changed,
                sender=names.DASHBOARD,
                interface=names.DASHBOARD,
                member="PushTargetsChanged",
            ),
        ]
        try:
            while True:
                self._wake.clear()
                limit = None if await self._ask() else RETRY_SECONDS
                try:
                    async with asyncio.timeout(limit):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for subscription in subscriptions:
                await subscription.close()

    async def forget(self, number: int) -> None:
        """Have the dashboard forget a browser that its push service does not know any more."""
        try:
            await DashboardClient(self._bus).forget_push_target(number)
        except HiveError as error:
            log.warning("the dashboard does not forget the browser %d: %s", number, error)

    def _changed(self, _signal: Signal) -> None:
        self._wake.set()

    async def _ask(self) -> bool:
        """Ask once; return False when the dashboard must be asked again without a signal."""
        dashboard = DashboardClient(self._bus)
        try:
            targets = await dashboard.list_push_targets()
            key = await dashboard.push_key() if targets else ""
        except HiveError as error:
            log.warning("cannot ask %s for browsers: %s", names.DASHBOARD, error)
            return isinstance(error, Unavailable | Stopping)
        self._on_listed(key, targets)
        return True
