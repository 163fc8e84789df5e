"""The composition root of hive-notify.service.

Notify owns no name on the bus: nobody calls it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from services import credentials, unit
from services.config import Config, Webhook
from services.directories import state_directory
from services.notify.clients.browsers import Browsers
from wire.bus import Bus
from wire.records.dashboard import PushTarget

CREDENTIALS: Final = "/etc/hyperhive/credentials/notify"


class NotifyService(unit.Service):
    """The running service: a watcher for each source, a delivery for each webhook and browser.

    While nobody wants to know anything, it only waits for a browser that does.
    """

    def __init__(self, bus: Bus, config: Config, tokens: Mapping[str, str], state: Path) -> None:
        """Open the store.

        Args:
            bus: the connection to the services.
            config: the whole configuration.
            tokens: the webhooks' tokens, by webhook name.
            state: the directory of the store.

        Raises:
            CorruptStore: the store cannot be used.
        """
        from services.notify.store import Store

        self._bus = bus
        self._config = config
        self._tokens = tokens
        self._store = Store(state / "notify.sqlite")
        self._browsers = Browsers(bus, self._listed)
        self._key = ""
        self._targets: Sequence[PushTarget] = ()
        self._news = asyncio.Event()
        self._since = time.time_ns() // 1_000
        """When somebody began to want to know, in microseconds since 1970."""
        self._was_idle = False
        """Whether nobody wanted to know anything: what was there before is not new then."""

    def _listed(self, key: str, targets: Sequence[PushTarget]) -> None:
        if targets and not self._targets and not self._config.notify.webhooks:
            self._since = time.time_ns() // 1_000
        self._key, self._targets = key, targets
        self._was_idle = self._was_idle or not targets
        self._news.set()

    async def run(self) -> None:
        """Watch and deliver until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._browsers.run())
            if not self._config.notify.webhooks:
                unit.status("No webhooks are configured, and no browser wants notifications.")
                while not self._targets:
                    await self._news.wait()
                    self._news.clear()
                if self._was_idle:
                    self._store.forget()
                unit.status("")
            await self._deliver()

    async def _deliver(self) -> None:
        # These imports take long, and a service that tells nobody does not need them.
        import aiohttp

        from services.notify.clients.sources import SOURCES
        from services.notify.clients.watcher import Watcher
        from services.notify.deliveries import Deliveries
        from services.notify.notifier import Notifier

        notifier = Notifier(self._store, self._config.notify, self._since)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "hyperhive"},
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            deliveries = Deliveries(
                tasks, self._store, self._config, self._tokens, session, self._browsers.forget
            )
            notifier.on_post = deliveries.wake
            notifier.browsers = deliveries.set_browsers(self._key, self._targets)
            for source in SOURCES:
                tasks.create_task(Watcher(self._bus, source, notifier).run())
            while True:
                await self._news.wait()
                self._news.clear()
                notifier.browsers = deliveries.set_browsers(self._key, self._targets)

    async def close(self) -> None:
        """Close the store; the next start delivers its pending posts."""
        self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Build the service on `bus`.

    Raises:
        ConfigError: a token cannot be used.
        CorruptStore: the store cannot be used.
    """
    folder = credentials.directory()
    tokens = _tokens(folder, config.notify.webhooks) if folder else {}
    return NotifyService(bus, config, tokens, state_directory("notify"))


def _tokens(folder: Path, webhooks: tuple[Webhook, ...]) -> dict[str, str]:
    """Return the tokens that systemd has passed from CREDENTIALS, by webhook name.

    Raises:
        ConfigError: a file cannot be read, or is not a valid token.
    """
    return {
        webhook.name: token
        for webhook in webhooks
        if (
            token := credentials.token(
                folder / f"notify_{webhook.name}", f"{CREDENTIALS}/{webhook.name}"
            )
        )
    }


if __name__ == "__main__":
    unit.main("notify", lambda bus: build(bus, Config.load()))
