"""The checks of bench/chaos notice each violation."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.chaos import check, conversations
from bench.chaos.evidence import (
    Disturbance,
    Done,
    Evidence,
    LetGo,
    Lost,
    Question,
    Reminder,
    Seen,
    Sent,
    Stored,
    Told,
)
from bench.chaos.notes import Call, Kind, Note, Order
from bench.chaos.observer import Observer
from bench.chaos.sabotage import FAULTS
from bench.chaos.turns import sends, wakes
from sandbox.instance import REPO
from services.endpoint.jsonvalues import JsonObject
from wire import names
from wire.records.broker import MessageChange, MessageState
from wire.signals import Signal

QUEUED, LEASED = MessageState.QUEUED, MessageState.LEASED
ACKNOWLEDGED, DEAD = MessageState.ACKNOWLEDGED, MessageState.DEAD
SECOND = 10**9


def sound() -> Evidence:
    """A message that was lost with a broker and then done, a question and a reminder."""
    return Evidence(
        told=[
            Told(1, QUEUED, "alice", 0, 1),
            Told(1, LEASED, "alice", 0, 2),
            Lost(),
            Told(1, LEASED, "alice", 2, 3),
            Told(2, QUEUED, "alice", 0, 3),
            # Handed out and done within one window: one row tells of both.
            Told(2, ACKNOWLEDGED, "alice", 0, 4),
            Told(1, ACKNOWLEDGED, "alice", 2, 4),
        ],
        seen=[
            Seen("raw", 10, 1, 0, "one"),
            Seen("harness", 30 * SECOND, 1, 2),
            Seen("reader 1 0", 35 * SECOND, 2, 0, "two"),
        ],
        let_go=[LetGo("reader 1 0", 36 * SECOND, 2, again=False)],
        done=[Done("harness", 40 * SECOND, 1)],
        disturbances=[Disturbance(20, 30)],
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
        kills=6,
    )


ASKED = "alice asks you question 7. Answer it."
ANSWERED = "Your question 7 to bob was answered by bob."


def wrong(evidence: Evidence) -> list[str]:
    return check.violations(evidence) + conversations.violations(evidence)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert wrong(sound()) == []


def tell(*told: Told | Lost) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.told.extend(told)


def retell(*told: Told | Lost) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.told.__setitem__(slice(None), told)


def see(*seen: Seen) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.seen.extend(seen)


def store(index: int, **values: Any) -> Callable[[Evidence], None]:
    def change(evidence: Evidence) -> None:
        evidence.stored[index] = replace(evidence.stored[index], **values)

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
    ("1 was acknowledged after it was ack", tell(Told(1, ACKNOWLEDGED, "alice", 2, 5))),
    ("message 1 was leased after it was ack", tell(Told(1, LEASED, "alice", 3, 5))),
    ("1 was leased with 0 redeliveries, after it was leased with 0", lambda e: repeat(e, 1)),
    ("1 was queued with 0 redeliveries, after it was leased with 2", lambda e: repeat(e, 0)),
    ("alice got message 1 only after message 2", lambda e: told_first(e, 2)),
    ("reader 1 0 saw message 1 only after 2", lambda e: seen_last(e)),
    ("was seen by raw and by reader", see(Seen("reader 2 0", 12, 1, 0))),
    ("and the store has counted 3 hand-outs", see(Seen("x", 9, 1, 3))),
    ("saw message 2 with 0 redeliveries, unannounced", lambda e: e.told.pop(5)),
    ("message 2 was seen by raw while reader 1 0 held it", see(Seen("raw", 35 * SECOND + 1, 2, 1))),
    ("raw saw message 1 with another text", store(0, body="!")),
    ("which is not in the store", see(Seen("raw", 9, 8, 0))),
    ("after its acknowledgement had returned", lambda e: e.done.append(Done("raw", 20, 1))),
    ("message 1 ended with 1 redeliveries, after it was leased with 2", store(0, count=1)),
    ("message 8 was leased and is not in the store", tell(Told(8, LEASED, "bob", 0, 5))),
    ("message 2 has 7 redeliveries, and there were only 6 kills", store(1, count=7)),
    ("bob answered message 1 4 times", lambda e: e.stored.extend([e.stored[1]] * 3)),
    ("question q returned id 7 and was lost", lambda e: e.questions.pop()),
    ("question 7 to bob is open", lambda e: setattr(e, "questions", [question("open")])),
    ("bob was asked question 7 0 times", lambda e: e.stored.pop(2)),
    ("bob was asked question 7 2 times", lambda e: e.stored.append(e.stored[2])),
    ("alice was told 0 times how question 7 ended", lambda e: e.stored.pop(3)),
    ("alice was told 2 times how question 7 ended", lambda e: e.stored.append(e.stored[3])),
    ("told of the end of question 0, which does not exist", store(3, body="What?")),
    ("reminder 9 was delivered as no message", lambda e: e.stored.pop(4)),
    ("is a reminder that nobody wanted", lambda e: e.stored.append(replace(e.stored[4], id=6))),
    ("reminder 9 is pending", lambda e: setattr(e, "reminders", [reminder("pending")])),
    ("reminder 9 was delivered as another", store(4, to="alice")),
]


def repeat(evidence: Evidence, index: int) -> None:
    """Tell a row once more, before the broker is lost, or after the message was leased again."""
    evidence.told.insert(2 if index else 4, evidence.told[index])


def told_first(evidence: Evidence, id: int) -> None:
    """Tell of a message's hand-out before that of an older one of its sender."""
    store(0, sender="bob")(evidence)
    evidence.told.insert(0, Told(id, LEASED, "alice", 0, 0))


def seen_last(evidence: Evidence) -> None:
    """Show a client a message after a newer one of its sender."""
    store(0, sender="bob")(evidence)
    see(Seen("reader 1 0", 50 * SECOND, 1, 0))(evidence)


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
    assert list(wakes("alice", 5, prompt)) == [Seen("alice", 5, 3, 0), Seen("alice", 5, 4, 2)]
    events: list[tuple[str, JsonObject]] = [
        ("tool-use", {"id": "x", "tool": "mcp__hive__send", "input": {"to": "bob", "body": "hi"}}),
        ("tool-result", {"id": "x", "content": '{"id":4}', "error": False}),
        ("tool-result", {"id": "y", "content": "no", "error": True}),
    ]
    assert list(sends("alice", events)) == [("alice", 4, "hi")]


def test_senders_take_turns() -> None:
    """An older message of another sender may come later."""
    evidence = sound()
    evidence.told.insert(0, Told(2, LEASED, "alice", 0, 0))
    see(Seen("reader 1 0", 50 * SECOND, 1, 0))(evidence)
    assert not [sentence for sentence in wrong(evidence) if "only after" in sentence]


def test_what_coalescing_and_a_lost_broker_hide_is_allowed() -> None:
    """A lease that ended and the next one are one row; the last rows go with the broker."""
    evidence = sound()
    retell(
        Told(1, QUEUED, "alice", 0, 1),
        Lost(),
        # The first hand-outs were told by nobody, and so was the order of these.
        Told(2, LEASED, "alice", 0, 2),
        Told(1, ACKNOWLEDGED, "alice", 2, 3),
        Lost(),
    )(evidence)
    assert wrong(evidence) == []


def test_a_hold_ends_with_the_client_s_own_act_and_with_a_kill() -> None:
    later = Seen("reader 2 0", 35 * SECOND + 9, 2, 1)
    ends: list[Callable[[Evidence], None]] = [
        lambda e: e.let_go.append(LetGo("reader 1 0", 35 * SECOND + 5, 2, again=True)),
        lambda e: e.disturbances.append(Disturbance(35 * SECOND + 5)),
        lambda e: e.disturbances.append(Disturbance(34 * SECOND, 34 * SECOND + 9)),
    ]
    for end in ends:
        evidence = sound()
        see(later)(evidence)
        store(1, count=1)(evidence)
        evidence.told.pop(5)
        tell(Told(2, ACKNOWLEDGED, "alice", 1, 5))(evidence)
        assert wrong(evidence) == ["message 2 was seen by reader 2 0 while reader 1 0 held it"]
        end(evidence)
        assert wrong(evidence) == []


def test_notes_and_orders_are_read_as_they_were_written() -> None:
    note = Note(Kind.SENT, 5, [3], call=Call.ASK, key="k", body="b")
    assert Note.read(note.line()) == note
    order = Order(Call.REMIND, "k", "bob", "b")
    assert Order.read(order.line()) == order


async def test_the_observer_knows_the_holder_whoever_tells_first() -> None:
    observer, bus = Observer(), Listened()
    await observer.listen(bus)

    def told(state: MessageState, count: int) -> None:
        change = MessageChange(7, "bob", "alice", "message", state, "", 0, 0, count, False, 0)
        bus.broker(Signal(":1.1", names.BROKER_PATH, names.BROKER, "MessagesChanged", [[change]]))

    told(LEASED, 0)
    assert observer.holders == {"alice"}
    observer.noted("raw 0", Note(Kind.SEEN, 1, [7], count=1))
    assert observer.holders == {"raw"}
    told(QUEUED, 1)
    assert observer.holders == {"raw"}, "the row is of the hand-out before"
    told(LEASED, 1)
    assert observer.holders == {"raw"}
    told(ACKNOWLEDGED, 1)
    assert observer.holders == set()
    assert [(one.state, one.signal) for one in observer.evidence.rows][-1] == (ACKNOWLEDGED, 4)


class Listened:
    """A bus whose signals of the broker come from the test."""

    broker: Callable[[Signal], None]

    async def on_signal(self, callback: Callable[[Signal], None], **rule: str) -> None:
        if rule.get("interface") == names.BROKER:
            self.broker = callback

    async def call(self, *_: object, **__: object) -> list[object]:
        return []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_changes_a_statement_of_the_broker(fault: str) -> None:
    """A statement that was worded otherwise would leave the broker sound."""
    old, _ = FAULTS[fault]
    sources = (REPO / "services/broker").rglob("*.py")
    found = [
        re.sub(r'"\s+f?"', "", path.read_text()) for path in sources if "tests" not in path.parts
    ]
    assert any(old in text for text in found)
