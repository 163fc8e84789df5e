"""The broker's feed: changes of messages need no further call, questions do."""

from typing import Any, cast

import pytest

from services.dashboard.clients.broker_feed import BrokerFeed
from services.dashboard.state.event_log import EventLog
from services.dashboard.state.page_state import MAX_MESSAGES, MAX_WAITING, PageState
from services.dashboard.state.tables import Row, Table, Tables
from wire import names
from wire.bus import Bus
from wire.records.broker import Message, MessageChange, MessageState, Question, QuestionState
from wire.signals import Signal

CHANGE = MessageChange(
    id=1, sender="alice", recipient="bob", kind="message", state=MessageState.QUEUED, body="hello",
    length=5, queued=7, redeliveries=0, urgent=False, in_reply_to=0,
)  # fmt: skip


class SilentBus:
    """A bus that counts calls."""

    def __init__(self) -> None:
        self.called: list[str] = []

    async def call(self, *call: Any, timeout: float) -> list[Any]:
        self.called.append(call[3])
        return [[]]


@pytest.fixture
def bus() -> SilentBus:
    return SilentBus()


@pytest.fixture
def tables() -> Tables:
    return Tables(EventLog("epoch"))


@pytest.fixture
def feed(bus: SilentBus, tables: Tables) -> BrokerFeed:
    return BrokerFeed(cast(Bus, bus), PageState(tables))


def signal(member: str, *args: object) -> Signal:
    return Signal(":1.1", names.BROKER_PATH, names.BROKER, member, list(args))


def changed(feed: BrokerFeed, *changes: MessageChange) -> None:
    feed.apply(signal("MessagesChanged", [list(change) for change in changes]))


def rows(tables: Tables) -> dict[str, Row]:
    return dict(tables.rows(Table.MESSAGES))


async def test_a_new_message_is_shown_without_a_call(
    feed: BrokerFeed, bus: SilentBus, tables: Tables
) -> None:
    changed(feed, CHANGE)
    await feed.fetch_changes()
    assert bus.called == []
    [row] = rows(tables).values()
    assert row == {
        "id": 1, "from": "alice", "to": "bob", "kind": "message", "body": "hello", "length": 5,
        "at": 7, "redeliveries": 0, "urgent": False, "in_reply_to": 0, "state": "queued",
        "reason": "",
    }  # fmt: skip


async def test_a_change_without_text_keeps_the_text(feed: BrokerFeed, tables: Tables) -> None:
    changed(feed, CHANGE)
    leased = CHANGE._replace(state=MessageState.LEASED, redeliveries=2, body="", length=0)
    changed(feed, leased)
    [row] = rows(tables).values()
    assert (row["state"], row["redeliveries"], row["body"], row["length"]) == (
        "leased",
        2,
        "hello",
        5,
    )


async def test_a_message_that_is_not_shown_and_comes_without_text_is_ignored(
    feed: BrokerFeed, tables: Tables
) -> None:
    changed(feed, CHANGE._replace(state=MessageState.ACKNOWLEDGED, body="", length=0))
    assert rows(tables) == {}


async def test_an_old_message_that_becomes_a_dead_letter_is_shown(
    feed: BrokerFeed, tables: Tables
) -> None:
    changed(feed, *(CHANGE._replace(id=n) for n in range(2, MAX_MESSAGES + 2)))
    changed(feed, CHANGE._replace(state=MessageState.DEAD))
    assert rows(tables)["1"]["state"] == "dead"
    assert len(rows(tables)) == MAX_MESSAGES + 1


async def test_the_oldest_message_leaves_unless_it_waits_for_the_operator(
    feed: BrokerFeed, tables: Tables
) -> None:
    changed(feed, CHANGE, CHANGE._replace(id=2, recipient=names.OPERATOR))
    changed(feed, *(CHANGE._replace(id=n) for n in range(3, MAX_MESSAGES + 3)))
    assert "1" not in rows(tables)
    assert "2" in rows(tables)


async def test_an_old_message_that_waits_for_the_operator_again_is_asked_for(
    feed: BrokerFeed, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[str] = []
    monkeypatch.setattr(feed, "request_all", lambda: requests.append("all"))
    changed(feed, *(CHANGE._replace(id=n) for n in range(2, MAX_MESSAGES + 2)))
    old = CHANGE._replace(recipient=names.OPERATOR)
    leased = old._replace(state=MessageState.LEASED, body="", length=0)
    changed(feed, old)
    changed(feed, leased)
    assert "1" not in rows(tables)
    assert requests == []
    changed(feed, leased._replace(state=MessageState.QUEUED, redeliveries=1))
    assert requests == ["all"]


async def test_several_changes_of_one_message_are_taken_in_their_order(
    feed: BrokerFeed, tables: Tables
) -> None:
    leased = CHANGE._replace(state=MessageState.LEASED, body="", length=0)
    changed(feed, CHANGE, leased, leased._replace(state=MessageState.ACKNOWLEDGED))
    [row] = rows(tables).values()
    assert (row["state"], row["body"]) == ("acknowledged", "hello")


async def test_questions_are_asked_for_once_after_several_changes(
    feed: BrokerFeed, bus: SilentBus
) -> None:
    feed.apply(signal("QuestionAdded", "operator", 1, "alice"))
    feed.apply(signal("QuestionResolved", "alice", 1, "operator", "answered"))
    await feed.fetch_changes()
    assert bus.called == ["ListQuestions"] * 3
    feed.apply(signal("ReminderAdded", "alice", 1))
    feed.apply(signal("ReminderDue", "alice", 1, 2))
    await feed.fetch_changes()
    assert bus.called[3:] == ["ListReminders"]
    await feed.fetch_changes()
    assert len(bus.called) == 4


async def test_a_flood_of_one_sender_hides_nobody_and_is_cut(
    feed: BrokerFeed, tables: Tables
) -> None:
    mine = CHANGE._replace(recipient=names.OPERATOR)
    changed(feed, mine)
    flood = [mine._replace(id=n, sender="bob") for n in range(2, MAX_MESSAGES + MAX_WAITING + 2)]
    changed(feed, *flood)
    changed(feed, *(CHANGE._replace(id=n) for n in range(10_000, 10_000 + MAX_MESSAGES)))
    assert rows(tables)["1"]["from"] == "alice"
    assert len(rows(tables)) == MAX_MESSAGES + MAX_WAITING + 1
    [notice] = tables.rows(Table.NOTICES).values()
    assert "More than 100 messages from bob wait in your inbox" in str(notice["text"])
    # The older ones are asked for when the newest are done.
    kept = [n for n, row in rows(tables).items() if row["from"] == "bob"]
    done = mine._replace(sender="bob", state=MessageState.ACKNOWLEDGED, body="", length=0)
    state = feed.state
    assert state.change_messages([done._replace(id=int(n)) for n in kept[:-1]])
    assert not state.change_messages([done._replace(id=int(kept[-1]))])
    assert state.change_messages([done._replace(id=int(kept[-1]))])


async def test_the_flood_of_one_sender_is_read_past(tables: Tables) -> None:
    def message(number: int, sender: str) -> Message:
        head = (number, sender, names.OPERATOR, "message", "text", 7)
        return Message(*head, 0, False, 0, MessageState.QUEUED)

    everything = [message(1, "alice"), *(message(n, "bob") for n in range(2, 1002))]

    class Flooded(SilentBus):
        async def call(self, *call: Any, timeout: float) -> list[Any]:
            if call[3] != "ListMessages":
                return [[]]
            wanted, limit = call[5:7]
            return [[m for m in everything if m.id < (wanted.before or 10**6)][-limit:]]

    feed = BrokerFeed(cast(Bus, Flooded()), PageState(tables))
    await feed.fetch_all()
    assert "1" in rows(tables)


async def test_the_questions_of_some_askers_do_not_push_out_those_of_others(
    tables: Tables,
) -> None:
    def question(number: int, asker: str) -> Question:
        state = QuestionState.OPEN
        return Question(number, asker, names.OPERATOR, "Well?", [], False, 7, 0, state, [], "", 0)

    flood = [question(n, f"agent-{n % 7}") for n in range(2, 702)]
    everything = [question(1, "alice"), *flood]

    class Flooded(SilentBus):
        async def call(self, *call: Any, timeout: float) -> list[Any]:
            if call[3] != "ListQuestions":
                return [[]]
            wanted, limit = call[5:7]
            return [[q for q in everything if q.id < (wanted.before or 10**6)][-limit:]]

    feed = BrokerFeed(cast(Bus, Flooded()), PageState(tables))
    await feed.fetch_all()
    assert "1" in tables.rows(Table.QUESTIONS)
