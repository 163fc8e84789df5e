"""The rules: what is listed now and was not before is news, and goes to whoever wants its event."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from services.config import NotifyConfig
from services.notify.news import News, news
from services.notify.outbox import Outbox

_HOUR: Final = 3600.0


class Notifier:
    """Finds what is new in a list, and puts it into the outbox."""

    on_post: Callable[[str], None]
    """Called with the name of a webhook for which something waits."""

    def __init__(
        self, outbox: Outbox, config: NotifyConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._outbox = outbox
        self._webhooks = config.webhooks
        self._most = config.agent_posts_per_hour
        self._clock = clock
        self._hours: dict[str, tuple[float, int]] = {}
        """Of each agent: when its hour began, and what it has caused since."""
        self.on_post = lambda webhook: None

    def take(self, source: str, listed: Sequence[News], *, whole: bool = False) -> None:
        """See what of `listed`, the oldest first, is new.

        Of a source that is looked at for the first time nothing is: it was there before anybody
        wanted to be told. `whole`: it is all there is, or lacks the oldest only.
        """
        known = self._outbox.known(source)
        if known is None:
            self._outbox.note(source, [one.number for one in listed], (), whole=True)
            return
        fresh = [one for one in listed if one.number not in known]
        if not fresh and not whole:
            return
        told = [one for found in fresh if (one := self._bounded(found))]
        posts = [
            (hook.name, one) for one in told for hook in self._webhooks if one.event in hook.events
        ]
        self._outbox.note(source, [one.number for one in listed], posts, whole=whole)
        for webhook in dict.fromkeys(webhook for webhook, _ in posts):
            self.on_post(webhook)

    def _bounded(self, found: News) -> News | None:
        """`found`; that its agent goes too far, instead of the first one too many; then nothing."""
        if not found.origin:
            return found
        now = self._clock()
        began, count = self._hours.get(found.origin, (now, 0))
        if now - began >= _HOUR:
            began, count = now, 0
        self._hours[found.origin] = began, count + 1
        if count < self._most:
            return found
        if count > self._most:
            return None
        return news(
            found.event,
            found.number,
            f"{found.origin} is too busy",
            f"It has caused {self._most} posts within an hour; more are left out until that is "
            "over. See: hivectl threads",
            found.at,
        )
