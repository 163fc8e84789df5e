"""The base of the feeds: each keeps one service's rows current by the service's signals alone.

A feed subscribes before it asks, so it misses nothing. Signals that arrive while an answer is
outstanding are applied after the answer, so that an answer made before a signal cannot undo the
signal. A service that comes back is asked again; no timer makes a feed ask.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from services.dashboard.clients.services import SERVICES, explain
from services.dashboard.state.page_state import PageState
from wire.bus import Bus
from wire.errors import HiveError, Unavailable
from wire.signals import Signal

log = logging.getLogger(__name__)


class Feed(ABC):
    """The feed of one service; a subclass says which signals matter and how to ask for rows."""

    service: str
    rules: Sequence[Mapping[str, str]]
    """Match rules of the service's signals, without the sender."""

    def __init__(self, bus: Bus, state: PageState) -> None:
        self.bus = bus
        self.state = state
        self.name, self.path = SERVICES[self.service]
        self._wake = asyncio.Event()
        self._all_requested = True
        # An answer from before a change of the name's owner does not show that the service runs.
        self._owner_changes = 0
        self._held: list[Signal] | None = None

    @abstractmethod
    async def fetch_all(self) -> None:
        """Ask for everything and put it into the tables. Raises HiveError."""

    async def fetch_changes(self) -> None:
        """Ask for what `apply` could not learn from a signal alone. Raises HiveError."""
        await self.fetch_all()

    @abstractmethod
    def apply(self, signal: Signal) -> None:
        """Put the signal's content into the tables, or call `request_changes`. Raises HiveError."""

    def request_all(self) -> None:
        """Have everything asked for again."""
        self._all_requested = True
        self._wake.set()

    def request_changes(self) -> None:
        """Have `fetch_changes` called."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the rows current until cancelled. Raises Unavailable when the bus is lost."""
        subscriptions = [
            await self.bus.on_owner(self.name, came=self._owner_came, went=self._owner_went)
        ]
        try:
            for rule in self.rules:
                subscriptions.append(
                    await self.bus.on_signal(self._receive, sender=self.name, **rule)
                )
            self.request_all()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._fetch()
        finally:
            for subscription in subscriptions:
                await subscription.close()

    async def _fetch(self) -> None:
        everything, self._all_requested = self._all_requested, False
        owner_changes, self._held = self._owner_changes, []
        try:
            await (self.fetch_all() if everything else self.fetch_changes())
            if owner_changes == self._owner_changes:
                self.state.service_available(self.service)
        except HiveError as error:
            self._failed(error)
        finally:
            held, self._held = self._held, None
        for signal in held:
            self._apply(signal)

    def _receive(self, signal: Signal) -> None:
        if self._held is None:
            self._apply(signal)
        else:
            self._held.append(signal)

    def _apply(self, signal: Signal) -> None:
        try:
            self.apply(signal)
        except HiveError as error:  # the service is of another version
            self._failed(error)

    def _failed(self, error: HiveError) -> None:
        self._all_requested = True  # the next wake-up, whatever its cause, asks for all of it
        log.warning("%s could not be followed: %s", self.service, error)
        self.state.service_unavailable(self.service, explain(self.service, error))

    def _owner_came(self, _owner: str) -> None:
        self._owner_changes += 1
        self.request_all()

    def _owner_went(self, _owner: str) -> None:
        self._owner_changes += 1
        self.state.service_unavailable(self.service, explain(self.service, Unavailable()))
