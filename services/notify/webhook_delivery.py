"""The delivery of one webhook's pending posts: one at a time, oldest first, with retries."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from services.notify.notification import Notification
from services.notify.store import Post, Store
from services.notify.webhook_client import Attempt, Outcome

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 300.0
"""Seconds between two attempts: the wait begins with the first and doubles up to the longest."""


class Client(Protocol):
    """The client that posts; see `webhook_client.WebhookClient`."""

    async def post(self, notification: Notification) -> Attempt:
        """Post once."""


class WebhookDelivery:
    """Delivers the posts of one webhook, independently of the other webhooks."""

    def __init__(
        self,
        webhook: str,
        client: Client,
        store: Store,
        *,
        give_up_after: float,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare the delivery.

        Args:
            webhook: the webhook's name.
            client: posts to the webhook.
            store: the pending posts.
            give_up_after: seconds after which a post is dropped.
            now: the clock, in seconds since 1970.
            sleep: waits for so many seconds.
        """
        self._webhook = webhook
        self._client = client
        self._store = store
        self._give_up_after = give_up_after
        self._now = now
        self._sleep = sleep
        self._wake = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Look for pending posts."""
        self._wake.set()

    async def run(self) -> None:
        """Post until cancelled. The next start repeats a post that was cancelled half-way."""
        while True:
            self._wake.clear()
            post = self._store.first(self._webhook)
            if post is None:
                await self._wake.wait()
            else:
                await self._attempt(post)

    async def _attempt(self, post: Post) -> None:
        attempt = await self._client.post(post.notification)
        if attempt.outcome is Outcome.DELIVERED:
            self._store.remove(post)
            if self._failures:
                log.info("%s accepts posts again", self._webhook)
            self._failures = 0
            return
        left = post.queued / 1e6 + self._give_up_after - self._now()
        if attempt.outcome is Outcome.REJECTED or left <= 0:
            key = post.notification.key
            log.error("cannot send %s to %s: %s", key, self._webhook, attempt.reason)
            self._store.remove(post)
            return
        if not self._failures:
            log.warning(
                "%s does not accept posts; they are retried: %s", self._webhook, attempt.reason
            )
        wait = max(attempt.retry_after, self._backoff())
        self._failures += 1
        # No event tells that a webhook on the network accepts posts again.
        await self._sleep(min(wait, left))

    def _backoff(self) -> float:
        """Return the seconds until the next attempt, with jitter: an outage hits many senders."""
        wait = min(FIRST_WAIT * 2.0 ** min(self._failures, 20), LONGEST_WAIT)
        return wait * random.uniform(0.8, 1.0)  # noqa: S311 - nobody gains by guessing it
