"""The broker's feed: how it asks for new messages after a signal."""

from typing import Any, cast

from services.dashboard.clients.broker_feed import BrokerFeed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.records.broker import Message, MessageFilter, MessageState
from wire.signals import Signal


class FakeBus:
    """A broker that has `messages`, and returns at most `limit` of them at once."""

    def __init__(self, messages: list[Message], limit: int) -> None:
        self.messages = messages
        self.limit = limit
        self.asked: list[MessageFilter] = []

    async def call(self, *call: Any, timeout: float) -> list[Any]:
        wanted = call[5]
        assert isinstance(wanted, MessageFilter)
        self.asked.append(wanted)
        found = [
            message
            for message in self.messages
            if message.id > (wanted.after or 0) and wanted.recipient in (None, message.recipient)
        ]
        return [found[-self.limit :]]


class FakeState:
    def __init__(self) -> None:
        self.added: list[int] = []

    def set_message_state(self, message: int, state: str) -> None:
        pass

    def add_messages(self, messages: list[Message]) -> None:
        self.added += [message.id for message in messages]


async def added(bus: FakeBus, first: int) -> list[int]:
    state = FakeState()
    feed = BrokerFeed(cast(Bus, bus), cast(PageState, state))
    args = [names.OPERATOR, first, "alice", "message"]
    feed.apply(Signal(":1.1", names.BROKER_PATH, names.BROKER, "MessageQueued", args))
    await feed.fetch_changes()
    return state.added


def message(id: int, sender: str, recipient: str) -> Message:
    return Message(
        id, sender, recipient, "message", "", 0, 0, urgent=False, in_reply_to=0,
        state=MessageState.QUEUED,
    )  # fmt: skip


MESSAGES = [
    message(1, "bob", "alice"),
    message(2, "alice", "operator"),
    message(3, "bob", "alice"),
    message(4, "bob", "alice"),
]


async def test_one_call_is_enough_for_a_few_new_messages() -> None:
    bus = FakeBus(MESSAGES, limit=50)
    assert await added(bus, first=2) == [2, 3, 4]
    assert len(bus.asked) == 1


async def test_a_message_that_waits_for_the_operator_is_found_however_far_back() -> None:
    bus = FakeBus(MESSAGES, limit=2)  # as with large bodies
    assert await added(bus, first=2) == [2, 3, 4]
    assert bus.asked[1].recipient == names.OPERATOR
