"""The checks of bench/chaos notice each violation."""

import asyncio
from collections.abc import Callable

import pytest

from bench.chaos import check, conversations
from bench.chaos.broker import EachChange
from bench.chaos.evidence import (
    Done,
    Evidence,
    Question,
    Reminder,
    Said,
    Seen,
    Sent,
    Stored,
    Told,
)
from bench.chaos.observer import Observer
from bench.chaos.turns import _sends, _wakes
from wire import names
from wire.clients.systemd import MANAGER, SYSTEMD, SYSTEMD_PATH
from wire.fixtures import Connect
from wire.interface import Interface, method, signal
from wire.principal import EVERYBODY
from wire.records.broker import MessageChange, MessageState
from wire.types import Str, UInt64


def sound() -> Evidence:
    """A message that was lost with a broker and then done, a question and a reminder."""
    return Evidence(
        told=[
            Told(Said.QUEUED, 1, "alice"),
            Told(Said.DELIVERED, 1, "alice", 0),
            Told(Said.LOST),
            Told(Said.DELIVERED, 1, "alice", 2),
            Told(Said.QUEUED, 2, "alice"),
            Told(Said.ACKNOWLEDGED, 1, "alice"),
            Told(Said.DELIVERED, 2, "alice", 0),
            Told(Said.ACKNOWLEDGED, 2, "alice"),
        ],
        seen=[
            Seen("raw", 10, 1, 0, "one"),
            Seen("harness", 30, 1, 2),
            Seen("raw", 35, 2, 0, "two"),
        ],
        done=[Done("harness", 40, 1)],
        sent={"a": Sent("one", 1, 3, [1, 1]), "b": Sent("two", 4, 5, [2]), "c": Sent("never", 6)},
        results=[("bob", 2, "two")],
        stored=[
            Stored(1, "operator", "alice", "message", "one", 2, 0, "acknowledged"),
            Stored(2, "bob", "alice", "message", "two", 0, 1, "acknowledged"),
            Stored(3, "system", "bob", "question-asked", ASKED, 6, 0, "dead"),
            Stored(4, "system", "alice", "question-answered", ANSWERED, 0, 0, "acknowledged"),
            Stored(5, "system", "operator", "reminder", "wake up", 0, 0, "acknowledged"),
        ],
        asked={"q": Sent("why?", 1, 2, [7])},
        reminded={"r": Sent("wake up", 1, 2, [9])},
        questions=[Question(7, "alice", "bob", "why?", "answered")],
        reminders=[Reminder(9, "operator", "wake up", "delivered", 5)],
        kills=2,
    )


ASKED = "alice asks you question 7. Answer it."
ANSWERED = "Your question 7 to bob was answered by bob."


def wrong(evidence: Evidence) -> list[str]:
    return check.violations(evidence) + conversations.violations(evidence)


def changed(message: Stored, **values: object) -> Stored:
    return Stored(**{**{name: getattr(message, name) for name in message.__slots__}, **values})


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert wrong(sound()) == []


def tell(*told: Told) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.told.extend(told)


def store(index: int, **values: object) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.stored[index] = changed(evidence.stored[index], **values)

    return change


BROKEN: list[tuple[str, Callable[[Evidence], object]]] = [
    ("send a returned id 1 and was lost", store(0, body="?")),
    ("send c is stored 2 times", lambda e: [store(i, body="never")(e) for i in (2, 4)]),
    ("send a was answered several ids", lambda e: e.sent["a"].ids.append(2)),
    ("send b returned [8], and is stored as [2]", lambda e: setattr(e.sent["b"], "ids", [8])),
    ("'two' got id 2, after id 3", lambda e: setattr(e.sent["a"], "ids", [3])),
    ("a send of bob's model returned id 2 and was lost", lambda e: e.stored.pop(1)),
    ("2 sends of models returned id 2", lambda e: e.results.append(("bob", 2, "two"))),
    ("with another sender or text", lambda e: setattr(e, "results", [("bob", 2, "2")])),
    ("message 2 to alice ended as queued", store(1, state="queued")),
    ("message 3 to bob ended as dead with 5 redeliveries", store(2, count=5)),
    ("message 1 was acknowledged twice", tell(Told(Said.ACKNOWLEDGED, 1))),
    ("handed out after it was acknowledged", tell(Told(Said.DELIVERED, 1, "alice", 3))),
    ("while somebody held it", lambda e: e.told.pop(2)),
    ("again with 0 redeliveries, after 0", lambda e: e.told.insert(3, Told(Said.DELIVERED, 1))),
    ("alice got message 1 only after message 2", lambda e: e.told.insert(0, e.told[6])),
    ("was seen by raw and by reader", lambda e: e.seen.append(Seen("reader", 12, 1, 0))),
    ("saw message 1 with 1 redeliveries, unannounced", lambda e: e.seen.append(Seen("x", 9, 1, 1))),
    ("raw saw message 1 with another text", store(0, body="!")),
    ("after its acknowledgement had returned", lambda e: e.done.append(Done("raw", 20, 1))),
    ("message 1 ended with 1 redeliveries, after 2", store(0, count=1)),
    ("message 2 has 3 redeliveries and 1 hand-outs", store(1, count=3)),
    ("bob answered message 1 4 times", lambda e: e.stored.extend([changed(e.stored[1])] * 3)),
    ("question q returned id 7 and was lost", lambda e: e.questions.pop()),
    ("question 7 to bob is open", lambda e: setattr(e, "questions", [question("open")])),
    ("bob was asked question 7 0 times", lambda e: e.stored.pop(2)),
    ("bob was asked question 7 2 times", lambda e: e.stored.append(e.stored[2])),
    ("alice was told 0 times how question 7 ended", lambda e: e.stored.pop(3)),
    ("alice was told 2 times how question 7 ended", lambda e: e.stored.append(e.stored[3])),
    ("told of the end of question 0, which is none", store(3, body="What?")),
    ("reminder 9 was delivered as no message", lambda e: e.stored.pop(4)),
    ("is a reminder that nobody wanted", lambda e: e.stored.append(changed(e.stored[4], id=6))),
    ("reminder 9 is pending", lambda e: setattr(e, "reminders", [reminder("pending")])),
    ("reminder 9 was delivered as another", store(4, to="alice")),
]


def question(state: str) -> Question:
    return Question(7, "alice", "bob", "why?", state)


def reminder(state: str) -> Reminder:
    return Reminder(9, "operator", "wake up", state, 5)


@pytest.mark.parametrize(("sentence", "damage"), BROKEN, ids=[one[0] for one in BROKEN])
def test_what_is_wrong_is_found(sentence: str, damage: Callable[[Evidence], object]) -> None:
    evidence = sound()
    damage(evidence)
    found = "\n".join(wrong(evidence))
    assert sentence in found, found or "nothing was found"


def test_what_a_harness_has_written_down_is_read() -> None:
    prompt = (
        'You have 2 new messages.\n\n<message-1f id="3" from="bob" kind="message">\nhi\n'
        '</message-1f>\n\n<message-1f id="4" from="bob" kind="message" redelivered="2 times">\nho'
    )
    assert list(_wakes("alice", 5, prompt)) == [Seen("alice", 5, 3, 0), Seen("alice", 5, 4, 2)]
    events = [
        ("tool-use", {"id": "x", "tool": "mcp__hive__send", "input": {"to": "bob", "body": "hi"}}),
        ("tool-result", {"id": "x", "content": '{"id":4}', "error": False}),
        ("tool-result", {"id": "y", "content": "no", "error": True}),
    ]
    assert list(_sends("alice", events)) == [("alice", 4, "hi")]


class Broker(Interface, name=names.BROKER):
    """A broker that only announces."""

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...  # noqa: N802

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...  # noqa: N802


class Systemd(Interface, name=MANAGER):
    """A systemd with signals."""

    @method(allow=EVERYBODY)
    async def Subscribe(self) -> None:  # noqa: N802
        return None


async def test_the_observer_takes_what_the_broker_announces(connect: Connect) -> None:
    server, client = await connect(), await connect()
    broker, observer = Broker(), Observer()
    server.export(names.BROKER_PATH, broker)
    server.export(SYSTEMD_PATH, Systemd())
    await server.own(SYSTEMD)
    await observer.listen(client)
    one = MessageChange(1, "bob", "alice", "message", MessageState.QUEUED, "", 0, 5, 0, False, 0)
    states = [MessageState.QUEUED, MessageState.LEASED, MessageState.DEAD, MessageState.DROPPED]
    for state in states:
        broker.MessagesChanged([one._replace(state=state, redeliveries=2)])
    parked = asyncio.create_task(observer.until(lambda e: e.what == Said.PARKED, 10, "parked"))
    assert (await parked).whom == "alice"
    asked = asyncio.create_task(observer.until(lambda e: e.what == "QuestionAdded", 10, "asked"))
    await asyncio.sleep(0)
    broker.QuestionAdded("bob", 7, "alice")
    assert (await asked).whom == "bob"
    said = (Said.QUEUED, Said.DELIVERED, Said.PARKED)
    assert observer.evidence.told == [Told(one, 1, "alice", 2) for one in said]
    assert (observer.parked, observer.held) == ([1], {})


async def test_the_broker_of_the_chaos_announces_each_change() -> None:
    sent: list[list[MessageChange]] = []
    one = MessageChange(1, "bob", "alice", "message", MessageState.QUEUED, "", 0, 5, 0, False, 0)
    leased = one._replace(state=MessageState.LEASED)
    signal = EachChange(sent.append)
    signal.add([one, leased])
    signal.close()
    assert sent == [[one], [leased]]
