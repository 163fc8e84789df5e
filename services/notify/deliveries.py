"""The deliveries that run: one for each webhook, and one for each browser that wants to know."""

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import aiohttp

from services.config import Config
from services.notify.notifier import Receiver
from services.notify.store import Store
from services.notify.webhook_client import WebhookClient
from services.notify.webhook_delivery import Client, WebhookDelivery
from wire.records.dashboard import PushTarget


class Deliveries:
    """The deliveries, as tasks of a group."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        store: Store,
        config: Config,
        tokens: Mapping[str, str],
        session: aiohttp.ClientSession,
        forget: Callable[[int], Awaitable[None]],
    ) -> None:
        """Begin the deliveries to the webhooks.

        Args:
            tasks: the group.
            store: the pending posts.
            config: the whole configuration.
            tokens: the webhooks' tokens, by webhook name.
            session: sends the requests.
            forget: forgets the browser with an id.
        """
        self._tasks = tasks
        self._store = store
        self._config = config
        self._session = session
        self._forget = forget
        self._running: dict[str, tuple[WebhookDelivery, asyncio.Task[None]]] = {}
        self._names = [webhook.name for webhook in config.notify.webhooks]
        for webhook in config.notify.webhooks:
            client = WebhookClient(
                webhook,
                tokens.get(webhook.name),
                session,
                host=socket.gethostname(),
                page=config.dashboard.url,
                timeout=config.notify.attempt_timeout,
            )
            self._begin(webhook.name, client)

    def wake(self, name: str) -> None:
        """Look for pending posts of a receiver."""
        if name in self._running:
            self._running[name][0].wake()

    def set_browsers(self, key: str, targets: Sequence[PushTarget]) -> list[Receiver]:
        """Deliver to these browsers, and no more to others; return them as receivers."""
        named = {_name(target, key): target for target in targets}
        for name in [n for n in self._running if n not in named and n not in self._names]:
            self._running.pop(name)[1].cancel()
        self._store.keep_only([*self._names, *named])
        for name, target in named.items():
            if name not in self._running:
                self._begin(name, self._client(key, target))
        return [Receiver(name, target.events) for name, target in named.items()]

    def _client(self, key: str, target: PushTarget) -> Client:
        # Imported here: a service with webhooks only does not need the memory.
        from services.notify.push_client import PushClient

        url = self._config.dashboard.url or ""
        return PushClient(
            target,
            key,
            self._session,
            contact=url if url.startswith("https://") else "mailto:hyperhive@localhost",
            timeout=self._config.notify.attempt_timeout,
            gone=self._forget,
        )

    def _begin(self, name: str, client: Client) -> None:
        delivery = WebhookDelivery(
            name, client, self._store, give_up_after=self._config.notify.give_up_after
        )
        self._running[name] = delivery, self._tasks.create_task(delivery.run())


def _name(target: PushTarget, key: str) -> str:
    """Return the name of a browser, another one when its address or a key changes."""
    what = " ".join((target.endpoint, target.p256dh, target.auth, key))
    return f"browser {target.id} {hashlib.sha256(what.encode()).hexdigest()[:8]}"
