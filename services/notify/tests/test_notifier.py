"""The rules: which items become posts, and to which webhooks."""

from dataclasses import replace

import pytest

from services.config import NotifyConfig, Webhook
from services.notify.notification import Notification
from services.notify.notifier import Notifier
from services.notify.store import Store
from services.notify.tests.conftest import asks

PHONE = Webhook(name="phone", type="ntfy", url="https://ntfy.sh/topic")
LOG = Webhook(name="log", type="json", url="http://127.0.0.1/x", events=("crash", "approval"))


SINCE = 2
"""After the questions of `asks`."""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(store: Store, clock: Clock) -> Notifier:
    config = NotifyConfig(webhooks=(PHONE, LOG), agent_posts_per_hour=3)
    return Notifier(store, config, SINCE, clock)


def waiting(store: Store, webhook: str) -> list[Notification]:
    found = []
    while post := store.first(webhook):
        found.append(post.notification)
        store.remove(post)
    return found


def test_items_that_existed_at_the_first_look_are_not_sent(
    notifier: Notifier, store: Store
) -> None:
    notifier.process("questions", [asks(1)], complete=True)
    assert waiting(store, "phone") == []
    notifier.process("questions", [asks(1), asks(2)], complete=True)
    assert waiting(store, "phone") == [asks(2)]


def test_what_came_before_the_first_look_and_after_the_start_is_sent(
    notifier: Notifier, store: Store
) -> None:
    new = replace(asks(2), at=SINCE)
    notifier.process("questions", [asks(1), new], complete=True)
    notifier.process("questions", [asks(1), new], complete=True)
    assert waiting(store, "phone") == [new]


def test_each_item_is_sent_once(notifier: Notifier, store: Store) -> None:
    notifier.process("questions", [], complete=True)
    notifier.process("questions", [asks(1)])
    notifier.process("questions", [asks(1), asks(2)])
    notifier.process("questions", [asks(2)], complete=True)
    assert waiting(store, "phone") == [asks(1), asks(2)]


def test_an_item_that_is_no_longer_listed_is_forgotten(notifier: Notifier, store: Store) -> None:
    """Numbers are used again after a backup of the broker was restored."""
    notifier.process("questions", [], complete=True)
    notifier.process("questions", [asks(1), asks(2)])
    notifier.process("questions", [asks(1)], complete=True)
    notifier.process("questions", [asks(1), asks(2)])
    assert [one.number for one in waiting(store, "phone")] == [1, 2, 2]


def test_an_item_that_an_answer_had_no_room_for_is_not_sent_twice(
    notifier: Notifier, store: Store
) -> None:
    notifier.process("questions", [], complete=True)
    notifier.process("questions", [asks(1), asks(2)])
    notifier.process("questions", [asks(2)], complete=True)
    notifier.process("questions", [asks(1), asks(2)], complete=True)
    assert [one.number for one in waiting(store, "phone")] == [1, 2]


def test_each_webhook_gets_the_events_it_wants(notifier: Notifier, store: Store) -> None:
    told: list[str] = []
    notifier.on_post = told.append
    notifier.process("messages", [], complete=True)
    crash, notice = (
        Notification.of("crash", 1, "crash", "", 0),
        Notification.of("notice", 2, "login", "", 0),
    )
    notifier.process("messages", [crash, notice])
    assert told == ["phone", "log"]
    assert waiting(store, "phone") == [crash, notice]
    assert waiting(store, "log") == [crash]


def test_an_agent_cannot_flood_a_phone(notifier: Notifier, store: Store, clock: Clock) -> None:
    notifier.process("questions", [], complete=True)
    for number in range(1, 10):
        notifier.process("questions", [asks(number)])
    notifier.process("questions", [asks(20, "bob")])
    told = waiting(store, "phone")
    assert [one.number for one in told] == [1, 2, 3, 4, 20]
    assert told[3].title == "alice causes too many notifications"
    assert "It has caused 3 within an hour" in told[3].text
    clock.now = 3599.0
    notifier.process("questions", [asks(30)])
    assert waiting(store, "phone") == []
    clock.now = 3600.0
    notifier.process("questions", [asks(31)])
    assert waiting(store, "phone") == [asks(31)]


def test_the_hives_own_notifications_are_not_limited(notifier: Notifier, store: Store) -> None:
    notifier.process("messages", [], complete=True)
    notifier.process(
        "messages", [Notification.of("crash", n, "crash", "", 0) for n in range(1, 30)]
    )
    assert len(waiting(store, "phone")) == 29
