"""The broker against a model of its rules: random calls, crashes, restarts, clock jumps.

The model is the promise of the README in a few lines of Python. Whatever happens, the store must
show what the model says, and what was seen outside must never contradict itself:

- what is acknowledged never comes back, and what is not is never lost;
- the operator's messages come first, then the hive's, then the senders take turns;
- the messages of one sender to one recipient come in their order, redelivered ones first;
- no message is handed out twice with the same count of redeliveries;
- the dead letters are those which came back too often since they were last queued by hand.
"""

import asyncio
import itertools
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.broker.maintenance.retention import delete
from services.broker.messages.inbox import Holder
from services.broker.storage.database import Database
from services.broker.tests.model import AGENTS, CONFIG, PARTIES, Model, Seen
from services.broker.tests.room import make_room
from wire.errors import HiveError
from wire.principal import THE_OPERATOR, Principal, agent
from wire.records.broker import Message, MessageState

T = TypeVar("T")
Call = Coroutine[Any, Any, object]

ENDS: Final = ("stop", "kill", "send", "receive", "acknowledge", "decide", "ask", "answer")
MEMORY: Final = "/dev/shm" if Path("/dev/shm").is_dir() else None


def principal(name: str) -> Principal:
    return THE_OPERATOR if name == "operator" else agent(name)


@dataclass
class Waiter:
    """A call of Receive that has not returned yet."""

    connection: Holder
    limit: int
    task: "asyncio.Task[list[Message]]"


class WallClock:
    """A stand-in for the module `time`, which may jump either way."""

    microseconds = 1_800_000_000_000_000

    def time_ns(self) -> int:
        return self.microseconds * 1000


class Rules(RuleBasedStateMachine):
    """One hive and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.root = Path(tempfile.mkdtemp(prefix="hive-rules-", dir=MEMORY))
        self.numbers = itertools.count(1)
        self.clock = WallClock()
        self.patch = mock.patch("services.broker.storage.database.time", self.clock)
        self.patch.start()
        self.model = Model()
        self.messages = self.model.messages
        self.waiting: dict[str, list[Waiter]] = {name: [] for name in PARTIES}
        self.seen = Seen()
        self.path = self.new_folder() / "broker.sqlite"
        self.run(self.open())
        for to in PARTIES:
            self.send("alice", to, None, 2)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    def new_folder(self) -> Path:
        folder = self.root / str(next(self.numbers))
        folder.mkdir()
        return folder

    async def open(self) -> None:
        self.database = Database.open(self.path)
        self.parts = make_room(self.database, CONFIG)
        self.broker, self.questions = self.parts.broker, self.parts.questions
        self.history = self.parts.history
        changes = await self.broker.recover()
        parked = {change.id for change in changes if change.state is MessageState.DEAD}
        for name in AGENTS:
            await self.broker.register_agent(name)
        self.connections = {(name, i): self.new_connection() for name in PARTIES for i in range(2)}
        assert parked == self.model.forget_leases()

    def new_connection(self) -> Holder:
        return Holder(f":1.{next(self.numbers)}", asyncio.get_running_loop().create_future())

    async def shut(self) -> None:
        self.parts.inboxes.stop()
        waiters = [w.task for line in self.waiting.values() for w in line]
        await asyncio.gather(*waiters, return_exceptions=True)
        self.waiting = {name: [] for name in PARTIES}
        await self.parts.close()

    def teardown(self) -> None:
        self.run(self.shut())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.patch.stop()
        shutil.rmtree(self.root)

    # What happens

    def check(self, work: Coroutine[Any, Any, object], error: type[HiveError] | None) -> None:
        if error is None:
            self.run(work)
            return
        with pytest.raises(error):
            self.run(work)

    def serve_waiting(self) -> None:
        """Check that waiting calls have got the messages that came, first come first served."""
        for name, line in self.waiting.items():
            while line and self.model.eligible(name):
                waiter = line.pop(0)
                expected = self.model.hand_out(name, waiter.limit, waiter.connection.name)
                self.got(self.run(asyncio.wait_for(waiter.task, 10)), expected)

    def got(self, messages: list[Message], expected: list[tuple[int, int]]) -> None:
        self.seen.note(messages)
        assert [(m.id, m.redeliveries) for m in messages] == expected

    def send_call(
        self, sender: str, to: str, body: str, key: str | None
    ) -> Coroutine[Any, Any, int]:
        options = {} if key is None else {"dedupe_key": key}
        return self.broker.send(principal(sender), to, body, options)

    senders = st.sampled_from(PARTIES)
    recipients = st.sampled_from([*PARTIES, *PARTIES, "*"])
    dedupe_keys = st.sampled_from([None, None, "k", "l"])
    some = st.lists(st.integers(0, 50), min_size=1, max_size=4)
    who = st.tuples(st.sampled_from(PARTIES), st.integers(0, 1))

    @rule(sender=senders, to=recipients, key=dedupe_keys, count=st.integers(1, 4))
    def send(self, sender: str, to: str, key: str | None, count: int) -> None:
        for _ in range(count):
            body = f"text {next(self.numbers)}"
            told = self.run(self.send_call(sender, to, body, key))
            assert told == self.model.store(sender, to, body, key)
            self.serve_waiting()

    @rule(who=who, limit=st.integers(1, 3), patient=st.booleans())
    def receive(self, who: tuple[str, int], limit: int, patient: bool) -> None:
        name, connection = who[0], self.connections[who]
        if not patient and self.waiting[name]:
            return  # its turn comes after theirs
        receive = self.broker.receive(principal(name), connection, limit, 180_000 * patient)
        if patient:
            self.waiting[name].append(Waiter(connection, limit, self.loop.create_task(receive)))
            self.serve_waiting()
        else:
            expected = self.model.hand_out(name, limit, connection.name)
            self.got(self.run(receive), expected)

    @rule(who=who, picks=some)
    def acknowledge(self, who: tuple[str, int], picks: list[int]) -> None:
        name, holder = who[0], self.connections[who].name
        ids = self.model.ids(picks, name)
        error = self.model.acknowledge(name, holder, ids)
        self.check(self.broker.acknowledge(principal(name), holder, ids), error)
        if error is None:
            self.seen.acknowledged.update(ids)

    @rule(who=who, picks=some)
    def release(self, who: tuple[str, int], picks: list[int]) -> None:
        holder = self.connections[who].name
        ids = self.model.ids(picks, who[0])
        self.run(self.broker.release(principal(who[0]), holder, ids))
        self.model.end_leases(
            [m for m in self.messages.values() if m.id in ids and m.holder == holder]
        )
        self.serve_waiting()

    @rule(who=who)
    def leave(self, who: tuple[str, int]) -> None:
        name, gone = who[0], self.connections[who]
        left = [w for w in self.waiting[name] if w.connection is gone]
        self.waiting[name] = [w for w in self.waiting[name] if w.connection is not gone]
        gone.left.set_result(None)
        for waiter in left:
            assert self.run(asyncio.wait_for(waiter.task, 10)) == []
        self.run(self.idle())
        self.model.end_leases([m for m in self.messages.values() if m.holder == gone.name])
        self.connections[who] = self.run(self.connect())
        self.serve_waiting()

    async def connect(self) -> Holder:
        return self.new_connection()

    async def idle(self) -> None:
        """Wait until all consequences of earlier calls are done."""
        for _ in range(3):
            await asyncio.sleep(0)
            await self.database.write(lambda db: None)
        await self.parts.writes.wait()

    @rule(asker=senders, to=senders)
    def ask(self, asker: str, to: str) -> None:
        if asker != to:
            assert self.run(self.ask_call(asker, to)) == self.model.ask(asker, to)
            self.serve_waiting()

    def ask_call(self, asker: str, to: str) -> Call:
        return self.questions.ask(principal(asker), to, "Why?", {})

    @precondition(lambda self: self.model.open_questions())
    @rule(pick=st.integers(0, 50))
    def answer(self, pick: int) -> None:
        still_open = self.model.open_questions()
        number = still_open[pick % len(still_open)]
        self.run(self.answer_call(number))
        self.model.answer(number)
        self.serve_waiting()

    def answer_call(self, number: int) -> Call:
        who = principal(self.model.questions[number - 1].recipient)
        return self.questions.answer(who, number, ["Because."])

    @rule()
    def delete_what_is_done(self) -> None:
        self.run(delete(self.database, 2**62))
        self.model.delete_done()

    @precondition(lambda self: any(m.state is MessageState.DEAD for m in self.messages.values()))
    @rule(picks=some, again=st.booleans(), one=st.booleans())
    def decide(self, picks: list[int], again: bool, one: bool) -> None:
        """Requeue or drop messages, which may be dead letters."""
        dead = [m.id for m in self.messages.values() if m.state is MessageState.DEAD]
        self.decide_on(dead[:1] if one else self.model.ids(picks), again)

    def decide_on(self, ids: list[int], again: bool) -> None:
        error = self.model.change_dead(ids, MessageState.QUEUED if again else MessageState.DROPPED)
        call = self.broker.requeue(ids) if again else self.broker.drop(ids)
        self.check(call, error)
        self.serve_waiting()

    @rule(name=senders, origin=st.sampled_from([None, *PARTIES]))
    def purge(self, name: str, origin: str | None) -> None:
        options = {} if origin is None else {"from": origin}
        assert self.run(self.broker.purge(name, options)) == self.model.purge(name, origin)

    @rule(seconds=st.integers(-(10**6), 10**6))
    def set_the_clock(self, seconds: int) -> None:
        self.clock.microseconds += seconds * 1_000_000

    @rule(
        how=st.sampled_from([*ENDS]),
        who=who,
        picks=some,
        data=st.data(),
    )
    def end(self, how: str, who: tuple[str, int], picks: list[int], data: st.DataObject) -> None:
        """Stop the broker, or kill it, perhaps during a call."""
        if how == "answer" and not self.model.open_questions():
            how = "ask"
        if how == "stop":
            self.run(self.shut())
            self.run(self.open())
            return
        call = getattr(self, f"begin_{how}")(who, picks, data) if how != "kill" else None
        self.run(self.crash_during(call))

    def begin_send(self, who: tuple[str, int], picks: list[int], data: st.DataObject) -> Call:
        to, key = data.draw(self.recipients), data.draw(self.dedupe_keys)
        body = f"text {next(self.numbers)}"
        self.model.store(who[0], to, body, key)
        return self.send_call(who[0], to, body, key)

    def begin_ask(self, who: tuple[str, int], picks: list[int], data: st.DataObject) -> Call:
        to = data.draw(st.sampled_from([name for name in PARTIES if name != who[0]]))
        self.model.ask(who[0], to)
        return self.ask_call(who[0], to)

    def begin_answer(self, who: tuple[str, int], picks: list[int], data: st.DataObject) -> Call:
        number = self.model.open_questions()[0]
        self.model.answer(number)
        return self.answer_call(number)

    def begin_receive(self, who: tuple[str, int], picks: list[int], data: st.DataObject) -> Call:
        if not self.waiting[who[0]]:
            self.model.hand_out(who[0], 2, "")
        return self.broker.receive(principal(who[0]), self.connections[who], 2, 0)

    def begin_acknowledge(
        self, who: tuple[str, int], picks: list[int], data: st.DataObject
    ) -> Call:
        holder, ids = self.connections[who].name, self.model.ids(picks, who[0])
        self.model.acknowledge(who[0], holder, ids)
        return self.broker.acknowledge(principal(who[0]), holder, ids)

    def begin_decide(self, who: tuple[str, int], picks: list[int], data: st.DataObject) -> Call:
        ids, again = self.model.ids(picks), data.draw(st.booleans())
        self.model.change_dead(ids, MessageState.QUEUED if again else MessageState.DROPPED)
        return self.broker.requeue(ids) if again else self.broker.drop(ids)

    async def crash_during(self, call: Coroutine[Any, Any, object] | None) -> None:
        """Kill the broker when the write of `call` is on disk, and before anything is announced.

        Without a call, at once: what has returned must be on disk.
        """
        task = asyncio.ensure_future(call) if call is not None else None
        for _ in range(6 if task else 0):
            await asyncio.sleep(0)
        for _ in range(2 if task else 0):
            # A group is taken as a whole: when the second one runs, the first is on disk. The loop
            # does not turn meanwhile.
            reached = threading.Event()
            write = self.database.write(partial(_reach, reached))
            write.send(None)  # It is in the writer's queue now.
            reached.wait()
            write.close()
        old = self.path
        self.path = self.new_folder() / old.name
        for suffix in ("", "-wal"):
            shutil.copy(f"{old}{suffix}", f"{self.path}{suffix}")
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.shut()
        shutil.rmtree(old.parent)
        await self.open()

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        found = self.run(self.history.list_messages(THE_OPERATOR, {}, 1000))
        for m in found:
            if m.id in self.messages and self.messages[m.id].body is None:
                self.messages[m.id].body = m.body
        shown = [(m.id, m.sender, m.recipient, m.body, m.redeliveries, m.state) for m in found]
        assert shown == [m.shown() for m in self.messages.values()]
        asked = self.run(self.history.list_questions(THE_OPERATOR, {"state": "open"}, 1000))
        assert [q.id for q in asked] == self.model.open_questions()

    @invariant()
    def dead_letters_are_those_that_came_back_too_often(self) -> None:
        for message in self.messages.values():
            if message.state in (MessageState.QUEUED, MessageState.DEAD):
                assert (message.state is MessageState.DEAD) == (
                    message.failed > CONFIG.max_redeliveries
                )

    @invariant()
    def nobody_is_served_by_mistake(self) -> None:
        assert not any(w.task.done() for line in self.waiting.values() for w in line)


def _reach(reached: threading.Event, db: sqlite3.Connection) -> None:
    reached.set()


@pytest.mark.parametrize("examples", [10, pytest.param(40, marks=pytest.mark.long)])
def test_whatever_is_done_in_whatever_order_the_rules_hold(examples: int) -> None:
    run_state_machine_as_test(
        Rules,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
