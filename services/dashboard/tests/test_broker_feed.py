"""The broker's feed: how it asks for new messages after a signal."""

from typing import Any, cast

from services.dashboard.clients.broker_feed import BrokerFeed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.signals import Signal


class FakeBus:
    """A broker that has `rows`, and returns at most `limit` of them at once."""

    def __init__(self, rows: list[list[Any]], limit: int) -> None:
        self.rows = rows
        self.limit = limit
        self.asked: list[dict[str, Any]] = []

    async def call1(self, *call: Any) -> list[list[Any]]:
        wanted = call[5]
        self.asked.append(wanted)
        found = [row for row in self.rows if row[0] > wanted["after"].value]
        return [row for row in found if row[2] == wanted.get("to", row[2])][-self.limit :]


class FakeState:
    def __init__(self) -> None:
        self.added: list[int] = []

    def set_message_state(self, message: int, state: str) -> None:
        pass

    def add_messages(self, rows: list[list[Any]]) -> None:
        self.added += [row[0] for row in rows]


async def added(bus: FakeBus, first: int) -> list[int]:
    state = FakeState()
    feed = BrokerFeed(cast(Bus, bus), cast(PageState, state))
    args = [names.OPERATOR, first, "alice", "message"]
    feed.apply(Signal(":1.1", names.BROKER_PATH, names.BROKER, "MessageQueued", args))
    await feed.fetch_changes()
    return state.added


ROWS = [[1, "bob", "alice"], [2, "alice", "operator"], [3, "bob", "alice"], [4, "bob", "alice"]]


async def test_one_call_is_enough_for_a_few_new_messages() -> None:
    bus = FakeBus(ROWS, limit=50)
    assert await added(bus, first=2) == [2, 3, 4]
    assert len(bus.asked) == 1


async def test_a_message_that_waits_for_the_operator_is_found_however_far_back() -> None:
    bus = FakeBus(ROWS, limit=2)  # as with large bodies
    assert await added(bus, first=2) == [2, 3, 4]
    assert bus.asked[1]["to"] == names.OPERATOR
