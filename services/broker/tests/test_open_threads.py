"""The open threads of each caller."""

import pytest

from services.broker.clients import BusPendingRequests
from services.broker.deadlines.clock import SECOND
from services.broker.messages.broker import Broker
from services.broker.parts import Parts
from services.broker.queries.open_threads import MAX_ROWS, OpenThreads
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.storage.database import Database
from services.broker.tests.clocks import START
from services.broker.tests.room import ALICE, BOB, FakeRequests, holder
from wire import names
from wire.errors import Unavailable
from wire.fixtures import Connect
from wire.interface import Interface, method
from wire.principal import EVERYBODY, THE_MANAGER, THE_OPERATOR
from wire.records.approvals import Approval, ApprovalKind, ApprovalState
from wire.records.broker import Thread
from wire.types import Dict


@pytest.fixture
def threads(room: Parts) -> OpenThreads:
    return room.threads


def kinds(threads: list[Thread]) -> list[tuple[str, str]]:
    return [(thread.kind, thread.text) for thread in threads]


async def test_everybody_sees_its_own_and_two_see_all(
    threads: OpenThreads, broker: Broker, questions: Questions, reminders: Reminders
) -> None:
    await questions.ask(ALICE, "operator", "of the operator?", {"ttl_s": 60})
    await questions.ask(BOB, "alice", "of alice?", {})
    await questions.ask(BOB, "operator", "none of alice's", {})
    done = await questions.ask(ALICE, "operator", "answered", {})
    await questions.answer(THE_OPERATOR, done, ["y"])
    [asked, answered] = await broker.receive(ALICE, holder(), 2, 0)
    await broker.acknowledge(ALICE, ":1.1", [answered.id])
    await broker.send(ALICE, "bob", "x" * 300, {})
    await reminders.remind(ALICE, 0, "look", {"after_s": 60})
    await reminders.remind(BOB, 0, "", {"after_s": 60, "file": "/state/x"})

    hers = await threads.open(ALICE)
    assert hers[0] == Thread(
        kind="question",
        id=1,
        sender="alice",
        recipient="operator",
        text="of the operator?",
        since=START,
        due=START + 60 * SECOND,
        state="open",
    )
    assert hers[1] == Thread(
        kind="question",
        id=2,
        sender="bob",
        recipient="alice",
        text="of alice?",
        since=START,
        state="open",
    )
    assert (hers[2].kind, hers[2].id, hers[2].state) == ("message", asked.id, "leased")
    assert kinds(hers[3:]) == [("reminder", "look")]

    his = await threads.open(BOB)
    assert kinds(his) == [
        ("question", "of alice?"),
        ("question", "none of alice's"),
        ("message", "x" * 200),
        ("reminder", "/state/x"),
    ]
    assert his[2].state == "queued"

    everything = await threads.open(THE_OPERATOR)
    assert [thread.kind for thread in everything] == (
        3 * ["question"] + 2 * ["message"] + 2 * ["reminder"] + ["approval"]
    )
    assert await threads.open(THE_MANAGER) == everything


async def test_dead_letters_are_listed_apart(
    threads: OpenThreads, broker: Broker, database: Database
) -> None:
    dead = await broker.send(ALICE, "bob", "again and again", {})
    await broker.send(ALICE, "bob", "new", {})
    await database.write(
        lambda db: db.execute("UPDATE message SET parked = 1 WHERE id = ?", (dead,))
    )
    found = await threads.open(BOB)
    assert kinds(found) == [("message", "new"), ("dead-letter", "again and again")]
    assert found[1].state == "dead"
    assert await threads.open(ALICE) == []


async def test_the_next_messages_of_one_and_the_newest_of_all(
    threads: OpenThreads, broker: Broker
) -> None:
    for number in range(MAX_ROWS + 2):
        await broker.send(ALICE, "bob", f"{number}", {})
    texts = [thread.text for thread in await threads.open(THE_OPERATOR) if thread.id]
    assert texts == [f"{number}" for number in range(2, MAX_ROWS + 2)]
    await broker.send(THE_MANAGER, "bob", "behind a flood", {})
    texts = [thread.text for thread in await threads.open(BOB)]
    assert texts == [*(f"{number}" for number in range(MAX_ROWS - 1)), "behind a flood"]


async def test_without_approvals_the_rest_is_there(
    threads: OpenThreads, broker: Broker, requests: FakeRequests
) -> None:
    await broker.send(ALICE, "bob", "x", {})
    requests.down = True
    assert kinds(await threads.open(THE_MANAGER)) == [
        ("message", "x"),
        (
            "unavailable",
            "The requests that wait for approval are unknown: approvals does not run.",
        ),
    ]


class FakeApprovals(Interface, name=names.APPROVALS):
    asked: Dict

    @method(allow=EVERYBODY)
    async def List(self, filter: Dict) -> list[Approval]:  # noqa: N802 - as on the bus
        self.asked = filter
        return [
            Approval(
                id=7,
                kind=ApprovalKind.SPAWN,
                agent="carol",
                commit="c0ffee",
                reason="docs",
                requested_by="manager",
                requested=START,
                state=ApprovalState.PENDING,
                note="",
                resolved=0,
            )
        ]


async def test_approvals_are_asked_but_not_started(connect: Connect) -> None:
    bus, other = await connect(), await connect()
    requests = BusPendingRequests(bus)
    with pytest.raises(Unavailable, match="is not running"):
        await requests.pending(10)
    fake = FakeApprovals()
    other.export(names.APPROVALS_PATH, fake)
    await other.own(names.APPROVALS)
    assert await requests.pending(10) == [
        Thread(
            kind="approval",
            id=7,
            sender="manager",
            recipient="operator",
            text="spawn carol: docs",
            since=START,
            state="pending",
        )
    ]
    assert fake.asked == {"state": "pending", "limit": 10}
