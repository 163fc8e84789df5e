"""Questions, reminders and open threads on a real private bus; and a broker that is killed."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.broker.messages.store import MessageStore
from services.broker.storage.database import Database
from services.broker.tests.test_crash import Brokers
from services.broker.tests.test_interface import Client, Hive, hive
from wire import names
from wire.errors import AccessDenied, Conflict, HiveError, Unavailable
from wire.fixtures import Connect
from wire.principal import Kind, Principal, agent
from wire.records import decode_all
from wire.records.broker import Message, QuestionFilter, ReminderFilter, ReminderState

__all__ = ["hive"]

CALLS: dict[str, tuple[Any, ...]] = {
    "Ask": ("ssa{sv}", "bob", "x?", {}),
    "Answer": ("tas", 77, ["y"]),
    "Cancel": ("t", 77),
    "Remind": ("xsa{sv}", 0, "x", {"after_s": 60}),
    "CancelReminder": ("t", 77),
    "ListReminders": ("a{sv}u", {}, 1),
    "CountReminders": (),
    "OpenThreads": (),
}


async def test_a_question_from_end_to_end(hive: Hive) -> None:
    alice, bob, operator = await hive.alice(), await hive.bob(), await hive.operator()
    async with operator.bus.subscribe(interface=names.BROKER) as signals:
        options = {"choices": ["yes", "no"], "ttl_s": 60}
        number = await alice.call("Ask", "ssa{sv}", "bob", "go?", options)
        [asked] = await bob.receive()
        await bob.call("Answer", "tas", number, ["yes"])
        with pytest.raises(Conflict):
            await operator.call("Cancel", "t", number)
        events = []
        async with asyncio.timeout(10):
            async for s in signals:
                if s.member != "MessagesChanged":
                    events.append((s.member, *s.args))
                if s.member == "QuestionResolved":
                    break
    [answered] = await alice.receive()
    assert (asked.sender, asked.kind) == ("system", "question-asked")
    assert (answered.sender, answered.kind) == ("system", "question-answered")
    assert events == [
        ("QuestionAdded", "bob", number, "alice"),
        ("QuestionResolved", "alice", number, "bob", "answered"),
    ]


async def test_reminders_and_threads(hive: Hive) -> None:
    alice = await hive.alice()
    number = await alice.call("Remind", "xsa{sv}", 0, "look", {"after_s": 60})
    [found] = await alice.typed.list_reminders(ReminderFilter(), 10)
    assert (found.id, found.owner, found.body) == (number, "alice", "look")
    assert found.state is ReminderState.PENDING
    [thread] = await alice.typed.open_threads()
    assert (thread.kind, thread.id, thread.text) == ("reminder", number, "look")
    await alice.call("CancelReminder", "t", number)
    assert await alice.call("CountReminders") == 0
    manager = await hive.client(agent("manager"))
    [unavailable] = await manager.typed.open_threads()
    assert unavailable.kind == "unavailable"


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (agent("alice"), True),
        (agent("manager"), True),
        (Principal(Kind.SERVICE, "dashboard"), True),
        (Principal(Kind.SERVICE, "approvals"), False),
        (None, False),
    ],
)
async def test_each_principal_may_call_its_methods_for_questions_only(
    hive: Hive, who: Principal | None, allowed: bool
) -> None:
    client = await hive.client(who)  # type: ignore[arg-type]
    for member, arguments in CALLS.items():
        try:
            await client.call(member, *arguments)
        except AccessDenied:
            assert not allowed, member
        except HiveError:
            assert allowed, member
        else:
            assert allowed, member


async def insistent(brokers: Brokers, client: Client, member: str, *arguments: Any) -> Any:
    """Call until it returns, over the deaths of the broker."""
    while True:
        await brokers.up.wait()
        with suppress(Unavailable):
            return await client.call(member, *arguments)


@pytest.mark.long
async def test_kill_9_gives_each_question_and_reminder_one_end(
    bus_address: str, connect: Connect, tmp_path: Path
) -> None:
    """Every caller is the operator here, who asks agents and answers for them."""
    database = Database.open(tmp_path / "broker.sqlite")
    await MessageStore(database).register("bob")
    await database.close()
    brokers = Brokers(bus_address, tmp_path)
    await brokers.start()
    client = Client(await connect())
    count = 60

    async def ask(i: int) -> tuple[int, int]:
        options = {"dedupe_key": f"k{i}"} | ({"ttl_s": 2} if i % 3 == 2 else {})
        number = await insistent(brokers, client, "Ask", "ssa{sv}", "bob", f"{i}?", options)
        after = {"after_s": 2, "dedupe_key": f"k{i}"}
        reminder = await insistent(brokers, client, "Remind", "xsa{sv}", 0, f"{i}!", after)
        if i % 3 == 0:
            await insistent(brokers, client, "Answer", "tas", number, [f"{i}."])
        if i % 3 == 1:
            await insistent(brokers, client, "Cancel", "t", number)
        return number, reminder

    async def kill() -> None:
        for _ in range(4):
            await asyncio.sleep(0.4)  # Some random point; nothing waits for it.
            await brokers.kill()
            await brokers.start()

    said: list[str] = []

    async def collect() -> None:
        seen: set[int] = set()
        while len(seen) < count * 2 - count // 3:  # The operator hears of no cancel of its own.
            rows = await insistent(brokers, client, "Receive", "uu", 10, 500)
            for message in decode_all(Message, rows):
                said.extend([message.body] * (message.id not in seen))
                seen.add(message.id)
                await insistent(brokers, client, "Acknowledge", "at", [message.id])

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(ask(i)) for i in range(count)]
        tasks.create_task(kill())
        tasks.create_task(collect())
    questions, reminders = zip(*(task.result() for task in asked), strict=True)
    assert len(set(questions)) == len(set(reminders)) == count
    assert await client.receive(10, 0) == []
    states = {q.text: q.state for q in await client.typed.list_questions(QuestionFilter(), 1000)}
    wanted = ("answered", "cancelled", "expired")
    assert states == {f"{i}?": wanted[i % 3] for i in range(count)}
    done = await client.typed.list_reminders(ReminderFilter(), 1000)
    assert [reminder.state for reminder in done] == [ReminderState.DELIVERED] * count
    assert len({reminder.message for reminder in done}) == count
    begins = [text.split(" to ")[0].split(",")[0] for text in said]
    assert len(begins) == len(set(begins)), "something was said twice"
    await brokers.kill()
