"""One service's part of the tables, kept current by its signals alone.

Subscribed before it asks, it misses nothing; what is signalled while an answer is under way is
applied after it, so that an answer made before the signal cannot undo it. A service that comes
back is asked again; nothing else makes it ask.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from wire import names
from wire.bus import Bus
from wire.errors import HiveError, Stopping, Timeout, Unavailable
from wire.signals import DAEMON, Signal

from .hive import Hive

log = logging.getLogger(__name__)

SERVICES = {
    "broker": (names.BROKER, names.BROKER_PATH),
    "lifecycle": (names.LIFECYCLE, names.LIFECYCLE_PATH),
    "approvals": (names.APPROVALS, names.APPROVALS_PATH),
}
"""Bus name and object path of each service the page shows."""

AWAY = {
    "broker": "The broker is away: messages are neither read nor sent.",
    "lifecycle": "Lifecycle is away: agents cannot be started or stopped, and may have changed.",
    "approvals": "Approvals is away: nothing can be approved or denied.",
}


def explain(service: str, error: HiveError) -> str:
    """A failure of `service` as a sentence that says what to do."""
    if isinstance(error, Unavailable | Stopping | Timeout):
        return f"{AWAY[service]} `systemctl status hive-{service}` says why."
    return f"{service.capitalize()} answered: {error}"


class Feed(ABC):
    """Keeps one part; a subclass says which signals matter and how to ask for everything."""

    service: str
    rules: Sequence[Mapping[str, str]]
    """Match rules of the service's signals, without the sender."""

    def __init__(self, bus: Bus, hive: Hive) -> None:
        self.bus = bus
        self.hive = hive
        self.name, self.path = SERVICES[self.service]
        self._wake = asyncio.Event()
        self._all_wanted = True
        self._lives = (
            0  # changes of the name's owner: an answer from before one is no proof of life
        )
        self._held: list[Signal] | None = None

    @abstractmethod
    async def fetch(self) -> None:
        """Ask for everything and put it into the tables. Raises HiveError."""

    async def fetch_news(self) -> None:
        """Ask for what `apply` could not know from a signal alone. Raises HiveError."""
        await self.fetch()

    @abstractmethod
    def apply(self, signal: Signal) -> None:
        """Put what a signal says into the tables, or `want_news`."""

    def want_all(self) -> None:
        """Ask for everything again."""
        self._all_wanted = True
        self._wake.set()

    def want_news(self) -> None:
        """Have `fetch_news` called."""
        self._wake.set()

    async def run(self) -> None:
        """Keep the part current until cancelled. Raises Unavailable when the bus is lost."""
        owner = {"sender": DAEMON, "interface": DAEMON, "member": "NameOwnerChanged"}
        subscriptions = [await self.bus.on_signal(self._owner_changed, **owner, arg0=self.name)]
        try:
            for rule in self.rules:
                subscriptions.append(await self.bus.on_signal(self._take, sender=self.name, **rule))
            self.want_all()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._ask()
        finally:
            for subscription in subscriptions:
                await subscription.close()

    async def _ask(self) -> None:
        everything, self._all_wanted = self._all_wanted, False
        life, self._held = self._lives, []
        try:
            await (self.fetch() if everything else self.fetch_news())
            if life == self._lives:
                self.hive.service_here(self.service)
        except HiveError as error:
            self._all_wanted = True  # whatever wakes us next, this has not been seen
            log.warning("%s could not be asked: %s", self.service, error)
            self.hive.service_away(self.service, explain(self.service, error))
        finally:
            held, self._held = self._held, None
        for signal in held:
            self.apply(signal)

    def _take(self, signal: Signal) -> None:
        if self._held is None:
            self.apply(signal)
        else:
            self._held.append(signal)

    def _owner_changed(self, signal: Signal) -> None:
        self._lives += 1
        if signal.args[2]:
            self.want_all()
        else:
            self.hive.service_away(self.service, explain(self.service, Unavailable()))
