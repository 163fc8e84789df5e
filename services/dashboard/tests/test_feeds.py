"""What the dashboard asks the broker for when a signal says that there is something new."""

from typing import Any, cast

from services.dashboard.feeds import BrokerFeed
from services.dashboard.hive import Hive
from wire import names
from wire.bus import Bus
from wire.signals import Signal


class FakeBus:
    """A broker that has `rows`, and gives no more than `most` of them at once."""

    def __init__(self, rows: list[list[Any]], most: int) -> None:
        self.rows = rows
        self.most = most
        self.asked: list[dict[str, Any]] = []

    async def call1(self, *call: Any) -> list[list[Any]]:
        wanted = call[5]
        self.asked.append(wanted)
        found = [row for row in self.rows if row[0] > wanted["after"].value]
        return [row for row in found if row[2] == wanted.get("to", row[2])][-self.most :]


class FakeHive:
    def __init__(self) -> None:
        self.added: list[int] = []

    def message_state(self, message: int, state: str) -> None:
        pass

    def messages_added(self, rows: list[list[Any]]) -> None:
        self.added += [row[0] for row in rows]


async def added(bus: FakeBus, news: int) -> list[int]:
    hive = FakeHive()
    feed = BrokerFeed(cast(Bus, bus), cast(Hive, hive))
    told = [names.OPERATOR, news, "alice", "message"]
    feed.apply(Signal(":1.1", names.BROKER_PATH, names.BROKER, "MessageQueued", told))
    await feed.fetch_news()
    return hive.added


ROWS = [[1, "bob", "alice"], [2, "alice", "operator"], [3, "bob", "alice"], [4, "bob", "alice"]]


async def test_one_question_is_enough_for_a_few_new_messages() -> None:
    bus = FakeBus(ROWS, most=50)
    assert await added(bus, news=2) == [2, 3, 4]
    assert len(bus.asked) == 1


async def test_what_waits_for_the_operator_is_found_however_far_back() -> None:
    bus = FakeBus(ROWS, most=2)  # as it is when the bodies are large
    assert await added(bus, news=2) == [2, 3, 4]
    assert bus.asked[1]["to"] == names.OPERATOR
