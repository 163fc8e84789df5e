"""The composition root of hive-notify.service.

Notify owns no name on the bus: nobody calls it.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services import credentials, unit
from services.config import Config, Webhook
from services.directories import state_directory
from wire.bus import Bus

log = logging.getLogger(__name__)

CREDENTIALS: Final = "/etc/hyperhive/credentials/notify"


class IdleService(unit.Service):
    """A service that has nothing to do, because no webhook is configured."""

    async def run(self) -> None:
        """Return at once: systemd sees a service that has ended successfully."""
        log.info("no webhooks are configured ([[notify.webhooks]] of hyperhive.toml)")
        unit.status("No webhooks are configured.")


class NotifyService(unit.Service):
    """The running service: a watcher for each source, a delivery for each webhook."""

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
        from services.notify.notifier import Notifier
        from services.notify.store import Store

        self._bus = bus
        self._config = config
        self._tokens = tokens
        self._store = Store(state / "notify.sqlite")
        self._store.keep_only([webhook.name for webhook in config.notify.webhooks])
        self._notifier = Notifier(self._store, config.notify)

    async def run(self) -> None:
        """Watch and deliver until cancelled."""
        # These imports take long, and a service without webhooks does not need them.
        import aiohttp

        from services.notify.clients.sources import SOURCES
        from services.notify.clients.watcher import Watcher
        from services.notify.webhook_client import WebhookClient
        from services.notify.webhook_delivery import WebhookDelivery

        settings = self._config.notify
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "hyperhive"},
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            deliveries = {}
            for webhook in settings.webhooks:
                client = WebhookClient(
                    webhook,
                    self._tokens.get(webhook.name),
                    session,
                    host=socket.gethostname(),
                    page=self._config.dashboard.url,
                    timeout=settings.attempt_timeout,
                )
                deliveries[webhook.name] = delivery = WebhookDelivery(
                    webhook.name, client, self._store, give_up_after=settings.give_up_after
                )
                tasks.create_task(delivery.run())
            self._notifier.on_post = lambda name: deliveries[name].wake()
            for source in SOURCES:
                tasks.create_task(Watcher(self._bus, source, self._notifier).run())

    async def close(self) -> None:
        """Close the store; the next start delivers its pending posts."""
        self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Build the service on `bus`.

    Raises:
        ConfigError: a token cannot be used.
        CorruptStore: the store cannot be used.
    """
    if not config.notify.webhooks:
        return IdleService()
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
