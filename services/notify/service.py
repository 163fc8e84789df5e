"""The room put together: sources, rules, outbox, one delivery for each webhook."""

import asyncio
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services import unit
from services.config import Config, Webhook
from services.errors import ConfigError
from services.unit import Service
from wire.bus import Bus

log = logging.getLogger(__name__)

STATE: Final = "/var/lib/hyperhive/notify"
CREDENTIALS: Final = "/etc/hyperhive/credentials/notify"


class Idle(Service):
    """Nobody wants to be told, so there is nothing to run for."""

    async def run(self) -> None:
        """Over at once; systemd sees a service that has ended well."""
        log.info("no webhooks are configured ([[notify.webhooks]] of hyperhive.toml)")
        unit.status("No webhooks are configured.")


class NotifyService(Service):
    """A running room."""

    def __init__(self, bus: Bus, config: Config, tokens: Mapping[str, str], state: Path) -> None:
        """Raises CorruptStore. `tokens` by the name of their webhook; `state` is a directory."""
        from services.notify.notifier import Notifier
        from services.notify.outbox import Outbox

        self._bus = bus
        self._config = config
        self._tokens = tokens
        self._outbox = Outbox(state / "notify.sqlite")
        self._outbox.keep_only([webhook.name for webhook in config.notify.webhooks])
        self._notifier = Notifier(self._outbox, config.notify)

    async def run(self) -> None:
        """Watch and post until cancelled."""
        # What takes longest to load is loaded by those only who need it.
        import aiohttp

        from services.notify.delivery import Delivery
        from services.notify.sources import SOURCES
        from services.notify.watch import Watch
        from services.notify.webhook import Sender

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
                sender = Sender(
                    webhook,
                    self._tokens.get(webhook.name),
                    session,
                    host=socket.gethostname(),
                    page=self._config.dashboard.url,
                    timeout=settings.attempt_timeout,
                )
                deliveries[webhook.name] = delivery = Delivery(
                    webhook.name, sender, self._outbox, give_up_after=settings.give_up_after
                )
                tasks.create_task(delivery.run())
            self._notifier.on_post = lambda name: deliveries[name].wake()
            for source in SOURCES:
                tasks.create_task(Watch(self._bus, source, self._notifier).run())

    async def close(self) -> None:
        """Close the outbox; what waits in it goes out after the next start."""
        self._outbox.close()


async def build(bus: Bus, config: Config) -> Service:
    """The room on `bus`. Raises ConfigError and CorruptStore."""
    if not config.notify.webhooks:
        return Idle()
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    tokens = _tokens(Path(folder), config.notify.webhooks) if folder else {}
    return NotifyService(bus, config, tokens, Path(os.environ.get("STATE_DIRECTORY", STATE)))


def _tokens(folder: Path, webhooks: tuple[Webhook, ...]) -> dict[str, str]:
    """What systemd has handed over of CREDENTIALS, by the name of the webhook it is for."""
    found = {}
    for webhook in webhooks:
        try:
            token = (folder / f"notify_{webhook.name}").read_text().strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError):
            token = ""
        if not token.isascii() or not token.isprintable() or " " in token or not token:
            raise ConfigError(
                f"{CREDENTIALS}/{webhook.name} is no token: one line, without spaces."
            )
        found[webhook.name] = token
    return found
