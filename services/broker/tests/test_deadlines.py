"""Deadlines over restarts, reboots and clocks that are set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from services.broker.deadlines.clock import SECOND
from services.broker.deadlines.table import BATCH
from services.broker.reminders.store import BATCH_SIZE
from services.broker.storage.database import Database
from services.broker.tests.clocks import START, FakeClock
from services.broker.tests.room import ALICE, BOB, EventLog, make_room, refusing
from services.broker.tests.test_questions import inbox, stored
from services.config import BrokerConfig
from wire.records.broker import Question, QuestionState

DAY = 24 * 3600


class Room:
    """A running broker, and its clock."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        self.clock = clock
        self.database = database
        config = BrokerConfig(max_open_questions=1000, max_pending_reminders=1000, loop_messages=0)
        self.parts = make_room(database, config, clock=clock)
        self.parts.announcer.listener = self.events = EventLog()
        self.broker, self.deadlines = self.parts.broker, self.parts.deadlines
        self.questions, self.reminders = self.parts.questions, self.parts.reminders

    @property
    def rings_at(self) -> float | None:
        """The time of the alarm, in seconds from the start."""
        [alarm] = self.clock.alarms
        return None if alarm.at is None else (alarm.at - START) / SECOND

    async def settled(self) -> None:
        """Wait until everything that is due by now is handled."""
        for _ in range(10):
            await asyncio.sleep(0)
            await self.database.write(lambda db: None)

    async def ask(self, ttl_s: int) -> int:
        return await self.questions.ask(ALICE, "bob", "x?", {"ttl_s": ttl_s})

    async def state(self, number: int) -> QuestionState:
        return (await self.question(number)).state

    async def question(self, number: int) -> Question:
        await self.settled()
        return await stored(self.database, number)


@asynccontextmanager
async def running(path: Path, clock: FakeClock) -> AsyncIterator[Room]:
    """Run a broker on the store that earlier ones left."""
    database = Database.open(path)
    room = Room(database, clock)
    for name in ("alice", "bob"):
        await room.broker.register_agent(name)
    task = asyncio.create_task(room.deadlines.run())
    try:
        await room.settled()
        yield room
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await room.parts.close()
    assert not clock.alarms


async def test_time_is_up_once_and_said(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        later, sooner = await room.ask(100), await room.ask(10)
        assert room.rings_at == 10
        clock.advance(9)
        assert await room.state(sooner) is QuestionState.OPEN
        clock.advance(1)
        assert await room.question(sooner) == Question(
            id=2,
            asker="alice",
            recipient="bob",
            text="x?",
            choices=[],
            multi=False,
            asked=START,
            deadline=START + 10 * SECOND,
            state=QuestionState.EXPIRED,
            answer=[],
            answered_by="[expired]",
            resolved=START + 10 * SECOND,
        )
        assert room.rings_at == 100
        assert await room.state(later) is QuestionState.OPEN
        [(sender, kind, body)] = await inbox(room.broker, ALICE)
        assert (sender, kind) == ("system", "question-answered")
        assert body.startswith("Your question 2 to bob was answered by [expired]: it has expired.")
        assert room.events.all.count(("question resolved", sooner, "expired")) == 1
        assert ("queued", 3, "system", "alice", "question-answered") in room.events.all


async def test_nothing_is_looked_at_before_the_alarm(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        await room.ask(10)
        await room.settled()
        readings = clock.readings
        await room.settled()
        assert clock.readings == readings


async def test_an_answered_question_does_not_expire(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.ask(10)
        await room.questions.answer(BOB, number, ["y"])
        clock.advance(20)
        assert await room.state(number) is QuestionState.ANSWERED
        assert len(await inbox(room.broker, ALICE)) == 1


async def test_time_goes_on_while_the_broker_is_down(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        for ttl_s in (30, 10, 20, 100):
            await room.ask(ttl_s)
    clock.advance(50)
    async with running(path, clock) as room:
        resolved = [event for event in room.events.all if event[0] == "question resolved"]
        assert [number for _, number, _ in resolved] == [2, 3, 1], "longest overdue first"
        assert room.rings_at == 100
        assert await room.state(4) is QuestionState.OPEN


async def test_setting_the_clock_changes_no_span_of_time(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.ask(60)
        clock.set_wall(DAY)
        assert await room.state(number) is QuestionState.OPEN
        assert room.rings_at == DAY + 60
        clock.set_wall(-2 * DAY)
        assert (await room.question(number)).deadline == START + (60 - DAY) * SECOND
        clock.advance(59)
        assert await room.state(number) is QuestionState.OPEN
        clock.advance(1)
        assert await room.state(number) is QuestionState.EXPIRED


async def test_a_clock_that_is_set_while_the_broker_is_down(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.ask(60)
    clock.set_wall(DAY)
    async with running(path, clock) as room:
        assert await room.state(number) is QuestionState.OPEN
        clock.advance(60)
        assert await room.state(number) is QuestionState.EXPIRED


async def test_after_a_reboot_the_wall_clock_counts(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        short, long = await room.ask(60), await room.ask(600)
    clock.reboot("second", 120)
    async with running(path, clock) as room:
        assert await room.state(short) is QuestionState.EXPIRED
        assert await room.state(long) is QuestionState.OPEN
        assert room.rings_at == 600
        clock.advance(480)
        assert await room.state(long) is QuestionState.EXPIRED


async def test_a_host_without_a_clock_that_learns_the_time_and_reboots(
    path: Path, clock: FakeClock
) -> None:
    """The question was asked in 1970: by that wall clock it would have expired long ago."""
    clock.wall = 10 * SECOND
    async with running(path, clock) as room:
        number = await room.ask(600)
        clock.set_wall(START / SECOND)
        assert await room.state(number) is QuestionState.OPEN
    clock.reboot("second", 100)
    async with running(path, clock) as room:
        assert await room.state(number) is QuestionState.OPEN
        clock.advance(500)
        assert await room.state(number) is QuestionState.EXPIRED


async def test_without_a_known_boot_the_wall_clock_counts(path: Path, clock: FakeClock) -> None:
    clock.boot = ""
    async with running(path, clock) as room:
        number = await room.ask(60)
        clock.set_wall(59)
        assert await room.state(number) is QuestionState.OPEN
        clock.set_wall(1)
        assert await room.state(number) is QuestionState.EXPIRED


async def test_more_than_a_batch_at_once(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        for _ in range(BATCH + 5):
            await room.ask(10)
        clock.advance(10)
        await room.settled()
        resolved = [event for event in room.events.all if event[0] == "question resolved"]
        assert len(resolved) == BATCH + 5
        assert room.rings_at is None


async def test_a_deadline_that_is_added_while_others_fall_due(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        await room.ask(10)
        clock.advance(10)
        number = await room.ask(5)  # While the first one is being resolved.
        await room.settled()
        assert room.rings_at == 15
        clock.advance(5)
        assert await room.state(number) is QuestionState.EXPIRED


async def test_a_store_that_fails_is_tried_again_after_the_next_write(
    path: Path, clock: FakeClock
) -> None:
    async with running(path, clock) as room:
        number = await room.ask(10)
        async with refusing(room.database, "question", "state") as tries:
            clock.advance(10)
            async with asyncio.timeout(10):
                while not tries:  # As the reader sees it: no write that would wake it.
                    await room.database.read(lambda db: None)
            for _ in range(10):
                await room.database.read(lambda db: None)
                await asyncio.sleep(0)
            assert len(tries) == 1
        assert await room.state(number) is QuestionState.EXPIRED
        assert len(await inbox(room.broker, ALICE)) == 1


async def test_an_expired_question_is_not_indexed_again(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        number = await room.ask(10)
        done: list[str] = []
        await room.database.write(lambda db: db.set_trace_callback(done.append))
        clock.advance(10)
        assert await room.state(number) is QuestionState.EXPIRED
        assert [sql for sql in done if "UPDATE question " in sql]
        assert not [sql for sql in done if "question_search" in sql]


async def test_few_large_reminders_are_delivered_at_a_time(path: Path, clock: FakeClock) -> None:
    async with running(path, clock) as room:
        for _ in range(3):
            await room.reminders.remind(ALICE, 0, "x" * (BATCH_SIZE // 2), {"after_s": 1000})
        clock.since_boot += 1000 * SECOND
        await room.reminders.fall_due(clock.now())
        assert await room.reminders.count(ALICE) == 1
        await room.reminders.fall_due(clock.now())
        assert await room.reminders.count(ALICE) == 0
