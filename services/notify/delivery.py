"""What waits for one webhook goes out, one post after the other, the oldest first."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from services.notify.news import News
from services.notify.outbox import Outbox, Post
from services.notify.webhook import Outcome, Verdict

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 300.0
"""Seconds between two tries, which double from the one to the other."""


class Sends(Protocol):
    """Who posts."""

    async def post(self, news: News) -> Outcome:
        """See webhook.Sender."""


class Delivery:
    """One webhook's queue, which never holds up another one's."""

    def __init__(
        self,
        webhook: str,
        sender: Sends,
        outbox: Outbox,
        *,
        give_up_after: float,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`webhook` is its name; after `give_up_after` seconds a post is dropped."""
        self._webhook = webhook
        self._sender = sender
        self._outbox = outbox
        self._give_up_after = give_up_after
        self._now = now
        self._sleep = sleep
        self._wake = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """There is something to post."""
        self._wake.set()

    async def run(self) -> None:
        """Post, until cancelled. A post under way then is posted again by the next start."""
        while True:
            self._wake.clear()
            post = self._outbox.first(self._webhook)
            if post is None:
                await self._wake.wait()
            else:
                await self._try(post)

    async def _try(self, post: Post) -> None:
        outcome = await self._sender.post(post.news)
        if outcome.verdict is Verdict.TAKEN:
            self._outbox.remove(post)
            if self._failures:
                log.info("%s takes posts again", self._webhook)
            self._failures = 0
            return
        left = post.queued / 1e6 + self._give_up_after - self._now()
        if outcome.verdict is Verdict.REFUSED or left <= 0:
            log.error("%s never got %s: %s", self._webhook, post.news.key, outcome.reason)
            self._outbox.remove(post)
            return
        if not self._failures:
            log.warning(
                "%s gets nothing now, and is tried again: %s", self._webhook, outcome.reason
            )
        wait = max(outcome.wait, self._pause())
        self._failures += 1
        await self._sleep(min(wait, left))

    def _pause(self) -> float:
        """Seconds until the next try; not quite the same for everybody whom one outage has hit."""
        wait = min(FIRST_WAIT * 2.0 ** min(self._failures, 20), LONGEST_WAIT)
        return wait * random.uniform(0.8, 1.0)  # noqa: S311 - nobody gains by guessing it
