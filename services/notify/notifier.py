"""The rules: a listed item that was not listed before becomes a post to each who wants to know."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from services.config import NotifyConfig
from services.notify.notification import Notification
from services.notify.store import Store

_HOUR: Final = 3600.0


class Receiver(NamedTuple):
    """A webhook or a browser, and the events that it wants."""

    name: str
    events: Sequence[str]


class Notifier:
    """Finds the new items of a list, and stores the posts about them."""

    on_post: Callable[[str], None]
    """Called with the name of each receiver that has new posts pending."""

    browsers: Sequence[Receiver]
    """The browsers that want notifications."""

    def __init__(
        self,
        store: Store,
        config: NotifyConfig,
        since: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Notify by `config`.

        Args:
            store: the known items, and the pending posts.
            config: the webhooks and limits.
            since: when somebody began to want to know, in microseconds since 1970.
            clock: the time in seconds, for the limits.
        """
        self._store = store
        self._since = since
        self._webhooks = [Receiver(one.name, one.events) for one in config.webhooks]
        self.browsers = ()
        self._limit = config.agent_posts_per_hour
        self._clock = clock
        self._hours: dict[tuple[str, bool], tuple[float, int]] = {}
        """By agent, and whether it has written: the start of the current hour, and the
        notifications that were caused since."""
        self.on_post = lambda webhook: None

    def process(
        self, source: str, listed: Sequence[Notification], *, complete: bool = False
    ) -> None:
        """Store posts for the new items of a list.

        Of a source that is processed for the first time, the items from before `since` are not
        new: they were there before the operator asked for notifications.

        Args:
            source: the name of the list.
            listed: items, oldest first.
            complete: `listed` has all items, or lacks only the oldest.
        """
        known = self._store.known(source)
        if known is None:
            known = {one.number for one in listed if one.at < self._since}
            self._store.record(source, known, (), complete=True)
        fresh = [one for one in listed if one.number not in known]
        if not fresh and not complete:
            return
        receivers = (*self._webhooks, *self.browsers)
        # An event that nobody wants to know of must not count against its agent.
        wanted = [item for item in fresh if any(item.event in one.events for one in receivers)]
        posts = [
            (receiver.name, one)
            for item in wanted
            if (one := self._limited(item))
            for receiver in receivers
            if one.event in receiver.events
        ]
        self._store.record(source, [one.number for one in listed], posts, complete=complete)
        for name in dict.fromkeys(name for name, _ in posts):
            self.on_post(name)

    def _limited(self, item: Notification) -> Notification | None:
        """Return `item`; beyond its agent's hourly limit, one notification of that, then None."""
        if not item.origin:
            return item
        now = self._clock()
        # An agent that writes a lot may still ask.
        key = item.origin, item.event == "message"
        began, count = self._hours.get(key, (now, 0))
        if now - began >= _HOUR:
            began, count = now, 0
        self._hours[key] = began, count + 1
        if count < self._limit:
            return item
        if count > self._limit:
            return None
        return Notification.of(
            item.event,
            item.number,
            f"{item.origin} causes too many notifications",
            f"It has caused {self._limit} within an hour; no more are sent until the hour is over. "
            "`hivectl threads` shows all of them.",
            item.at,
        )
