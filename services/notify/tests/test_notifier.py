"""What is news, and who gets it."""

import pytest

from services.config import NotifyConfig, Webhook
from services.notify.news import News, news
from services.notify.notifier import Notifier
from services.notify.outbox import Outbox
from services.notify.tests.conftest import asks

PHONE = Webhook(name="phone", type="ntfy", url="https://ntfy.sh/topic")
LOG = Webhook(name="log", type="json", url="http://127.0.0.1/x", events=("crash", "approval"))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notifier(outbox: Outbox, clock: Clock) -> Notifier:
    config = NotifyConfig(webhooks=(PHONE, LOG), agent_posts_per_hour=3)
    return Notifier(outbox, config, clock)


def waiting(outbox: Outbox, webhook: str) -> list[News]:
    found = []
    while post := outbox.first(webhook):
        found.append(post.news)
        outbox.remove(post)
    return found


def test_what_was_there_before_anybody_wanted_to_know_is_no_news(
    notifier: Notifier, outbox: Outbox
) -> None:
    notifier.take("questions", [asks(1)], whole=True)
    assert waiting(outbox, "phone") == []
    notifier.take("questions", [asks(1), asks(2)], whole=True)
    assert waiting(outbox, "phone") == [asks(2)]


def test_everything_is_told_once(notifier: Notifier, outbox: Outbox) -> None:
    notifier.take("questions", [], whole=True)
    notifier.take("questions", [asks(1)])
    notifier.take("questions", [asks(1), asks(2)])
    notifier.take("questions", [asks(2)], whole=True)
    assert waiting(outbox, "phone") == [asks(1), asks(2)]


def test_what_is_no_more_listed_is_forgotten(notifier: Notifier, outbox: Outbox) -> None:
    """Numbers come again when a backup of the broker was restored."""
    notifier.take("questions", [], whole=True)
    notifier.take("questions", [asks(1), asks(2)])
    notifier.take("questions", [asks(1)], whole=True)
    notifier.take("questions", [asks(1), asks(2)])
    assert [one.number for one in waiting(outbox, "phone")] == [1, 2, 2]


def test_what_no_answer_had_room_for_is_not_told_twice(notifier: Notifier, outbox: Outbox) -> None:
    notifier.take("questions", [], whole=True)
    notifier.take("questions", [asks(1), asks(2)])
    notifier.take("questions", [asks(2)], whole=True)
    notifier.take("questions", [asks(1), asks(2)], whole=True)
    assert [one.number for one in waiting(outbox, "phone")] == [1, 2]


def test_each_webhook_gets_the_events_it_wants(notifier: Notifier, outbox: Outbox) -> None:
    told: list[str] = []
    notifier.on_post = told.append
    notifier.take("messages", [], whole=True)
    crash, notice = news("crash", 1, "crash", "", 0), news("notice", 2, "login", "", 0)
    notifier.take("messages", [crash, notice])
    assert told == ["phone", "log"]
    assert waiting(outbox, "phone") == [crash, notice]
    assert waiting(outbox, "log") == [crash]


def test_an_agent_cannot_flood_a_phone(notifier: Notifier, outbox: Outbox, clock: Clock) -> None:
    notifier.take("questions", [], whole=True)
    for number in range(1, 10):
        notifier.take("questions", [asks(number)])
    notifier.take("questions", [asks(20, "bob")])
    told = waiting(outbox, "phone")
    assert [one.number for one in told] == [1, 2, 3, 4, 20]
    assert told[3].title == "alice is too busy"
    assert "3 posts within an hour" in told[3].text
    clock.now = 3599.0
    notifier.take("questions", [asks(30)])
    assert waiting(outbox, "phone") == []
    clock.now = 3600.0
    notifier.take("questions", [asks(31)])
    assert waiting(outbox, "phone") == [asks(31)]


def test_what_the_hive_says_is_not_limited(notifier: Notifier, outbox: Outbox) -> None:
    notifier.take("messages", [], whole=True)
    notifier.take("messages", [news("crash", n, "crash", "", 0) for n in range(1, 30)])
    assert len(waiting(outbox, "phone")) == 29
