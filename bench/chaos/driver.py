"""The chaos bench inside the host: `python -m bench.chaos.driver ROUNDS SEED [FAULT]`.

Keeps the inboxes filled, kills in rounds, then lets everything drain and checks the evidence by
the rules of check.py. Its progress goes to its standard error, one line a round; its last
line is JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypedDict, TypeVar

from bench.chaos import check, conversations, turns
from bench.chaos.crew import Member, hire
from bench.chaos.evidence import Evidence, Lost, Question, Reminder, Stored
from bench.chaos.host import prepared
from bench.chaos.notes import Call
from bench.chaos.observer import AGENTS, Observer, StalledError
from bench.chaos.rounds import Rounds, is_failed
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import AgentClient
from wire.clients.systemd import UnitClient, unit_path
from wire.errors import Conflict, HiveError, RemoteError
from wire.records.broker import (
    MessageFilter,
    MessageState,
    QuestionFilter,
    QuestionState,
    ReminderFilter,
    ReminderState,
    SendOptions,
)

PAGE: Final = 1000
"""Rows of one call, the most that the broker returns."""
WAITING: Final = {"alice": 2, "bob": 1, names.OPERATOR: 1}
"""Messages of the operator that wait in each inbox at any time."""
STAY_OPEN: Final = 20
"""Open questions that are left to those who were asked."""
DRAIN: Final = 180.0
"""Seconds until the next message must be done while everything drains."""
MOST_SHOWN: Final = 50


class Row(Protocol):
    """A message, a question or a reminder."""

    @property
    def id(self) -> int:
        """The broker's number of it."""


R = TypeVar("R", bound=Row)


class Outcome(TypedDict):
    """The outcome of a run."""

    rounds: int
    kills: Mapping[str, int]
    """By victim."""
    during: Mapping[str, int]
    """The kills, by what was going on."""
    slowest: float
    """The seconds of the longest recovery."""
    violations: list[str]
    """The first violations; `wrong` is the number of all."""
    wrong: int
    messages: int
    hand_outs: int
    redeliveries: int
    most_redeliveries: int
    """Of one message."""
    states: Mapping[str, int]
    """The messages, by their last state."""
    given_up: int
    """How often systemd gave up on a container."""


class Chaos:
    """A run."""

    def __init__(self, bus: Bus, observer: Observer, crew: dict[str, Member], seed: int) -> None:
        self._bus = bus
        self._broker = BrokerClient(bus)
        self._observer = observer
        self._crew = crew
        # Unique to this run, because dedupe keys are kept for ever.
        self._run = time.time_ns()
        self._chance = random.Random(f"{seed} load")
        self._said = 0
        self._given_up = 0
        self._requeued: set[int] = set()
        self._rounds = Rounds(observer, crew, random.Random(seed), _say)
        self._earlier: set[tuple[type, int]] = set()
        """The rows that were open before the run, such as messages to an agent that is gone."""

    async def run(self, rounds: int) -> Outcome:
        """Run all rounds and the draining; return the outcome."""
        began, stalled = time.time(), ""
        self._earlier = {(type(row), row.id) for row in await self._open()}
        first = await self._broker.send(names.OPERATOR, "chaos begins", SendOptions())
        helpers = [asyncio.create_task(work) for work in (self._feed(), self._nurse())]
        try:
            for _ in range(rounds):
                await self._rounds.round()
            helpers.pop(0).cancel()
            await self._drain()
        except StalledError as error:
            stalled = f"round {self._rounds.tally.rounds}: {error}"
        for helper in helpers:
            if helper.done():
                helper.result()
            helper.cancel()
        for member in self._crew.values():
            await member.stop()
        return await self._outcome(first, began, stalled)

    async def _outcome(self, first: int, began: float, stalled: str) -> Outcome:
        evidence = self._observer.evidence
        # First, for agents may go on when the run has stalled.
        for agent in AGENTS:
            turns.add_to(evidence, agent, began)
        evidence.stored = [
            Stored(
                id=message.id,
                sender=message.sender,
                to=message.recipient,
                kind=message.kind,
                body=message.body,
                count=message.redeliveries,
                in_reply_to=message.in_reply_to,
                state=message.state,
            )
            for message in await everything(
                lambda before: self._broker.list_messages(MessageFilter(before=before), PAGE)
            )
            if message.id >= first
        ]
        evidence.questions = [
            Question(one.id, one.asker, one.recipient, one.text, one.state)
            for one in await everything(
                lambda before: self._broker.list_questions(QuestionFilter(before=before), PAGE)
            )
            if one.asked >= began * 1e6
        ]
        evidence.reminders = [
            Reminder(one.id, one.owner, one.body, one.state, one.message)
            for one in await everything(
                lambda before: self._broker.list_reminders(ReminderFilter(before=before), PAGE)
            )
            if one.created >= began * 1e6
        ]
        evidence = since(evidence, first)
        wrong = check.violations(evidence) + conversations.violations(evidence)
        tally = self._rounds.tally
        return {
            "rounds": tally.rounds,
            "kills": tally.kills,
            "during": tally.during,
            "slowest": tally.slowest,
            "violations": [stalled] * bool(stalled) + wrong[:MOST_SHOWN],
            "wrong": len(wrong) + bool(stalled),
            "messages": len(evidence.stored),
            "hand_outs": sum(message.hand_outs for message in evidence.stored),
            "redeliveries": sum(message.count for message in evidence.stored),
            "most_redeliveries": max(message.count for message in evidence.stored),
            "states": Counter(message.state for message in evidence.stored),
            "given_up": self._given_up,
        }

    # Helpers

    async def _feed(self) -> None:
        """Keep messages waiting in each inbox, and give every other dead letter new tries."""
        while True:
            self._observer.news.clear()
            try:
                await self._top_up()
                await self._answer(keep=STAY_OPEN)
                await self._requeue()
            except (HiveError, RemoteError) as error:
                _say(f"the load waits for the broker: {error!r}")
            await self._observer.news.wait()

    async def _top_up(self) -> None:
        wanted_ones = MessageFilter(sender=names.OPERATOR, state=MessageState.QUEUED)
        queued = await self._broker.list_messages(wanted_ones, PAGE)
        waiting = Counter(message.recipient for message in queued)
        sender = self._crew["sender"]
        for to, wanted in WAITING.items():
            for _ in range(wanted - waiting[to] - sender.owing_to(to)):
                self._said += 1
                other = Call.REMIND if to == names.OPERATOR else Call.ASK
                [call] = self._chance.choices((Call.SEND, other), (5, 1))
                sender.order(call, to, f"chaos {self._run} {self._said}")

    async def _answer(self, keep: int) -> None:
        """Answer the operator's questions, and for others all but the newest `keep`.

        Somebody else, or the time limit, may be faster. Nobody else answers questions that `raw`
        took away, or that were asked in an unfinished turn; and open questions are limited.
        """
        asked = await self._broker.list_questions(QuestionFilter(state=QuestionState.OPEN), PAGE)
        old = asked[: max(0, len(asked) - keep)]
        mine = [question for question in asked[len(old) :] if question.recipient == names.OPERATOR]
        for question in old + mine:
            with suppress(Conflict):
                await self._broker.answer(question.id, ["yes"])

    async def _requeue(self) -> None:
        while self._observer.dead:
            id = self._observer.dead.pop()
            if id % 2 and id not in self._requeued:
                await self._broker.requeue([id])
                self._requeued.add(id)

    async def _nurse(self) -> None:
        """Start containers again that systemd gave up: they have ended five times in a minute."""
        while True:
            agent = (await self._observer.until(is_failed, 1e6, "")).whom
            try:
                if await self._is_given_up(agent):
                    self._given_up += 1
                    _say(f"systemd has given up on {agent}: it is started by the operator")
                    await AgentClient(self._bus, names.agent_path(agent)).start()
            except (HiveError, RemoteError) as error:
                _say(f"{agent} was not started: {error!r}")

    async def _is_given_up(self, agent: str) -> bool:
        """Return whether systemd gave up; not while it is about to start the container again."""
        unit = f"systemd-nspawn@{names.machine_name(agent)}.service"
        return bool(await UnitClient(self._bus, unit_path(unit)).get("ActiveState") == "failed")

    # The end

    async def _drain(self) -> None:
        """Wait until every message is done. Raises StalledError when nothing moves any more."""
        with self._observer.disturbance():
            await self._crew["raw"].stop()
        while True:
            self._observer.news.clear()
            await self._answer(keep=0)
            left = await self._open()
            if not left and not self._crew["sender"].owing:
                return
            try:
                async with asyncio.timeout(DRAIN):
                    await self._observer.news.wait()
            except TimeoutError:
                raise StalledError(f"draining stands still: {left[:20]}") from None

    async def _open(self) -> list[Row]:
        """Return everything of this run that is not done."""
        broker = self._broker
        found: list[Row] = [
            *await broker.list_messages(MessageFilter(state=MessageState.QUEUED), PAGE),
            *await broker.list_messages(MessageFilter(state=MessageState.LEASED), PAGE),
            *await broker.list_questions(QuestionFilter(state=QuestionState.OPEN), PAGE),
            *await broker.list_reminders(ReminderFilter(state=ReminderState.PENDING), PAGE),
        ]
        return [row for row in found if (type(row), row.id) not in self._earlier]


async def everything(page_before: Callable[[int | None], Awaitable[list[R]]]) -> list[R]:
    """Return all rows, oldest first, page by page."""
    rows: list[R] = []
    page = await page_before(None)
    while page:
        rows = page + rows
        page = await page_before(page[0].id)
    return rows


def since(evidence: Evidence, first: int) -> Evidence:
    """Drop reports about messages from before the run."""
    return Evidence(
        told=[one for one in evidence.told if isinstance(one, Lost) or one.id >= first],
        seen=[one for one in evidence.seen if one.id >= first],
        let_go=evidence.let_go,
        done=evidence.done,
        sent=evidence.sent,
        results=evidence.results,
        stored=evidence.stored,
        asked=evidence.asked,
        reminded=evidence.reminded,
        questions=evidence.questions,
        reminders=evidence.reminders,
        disturbances=evidence.disturbances,
        kills=evidence.kills,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def main(rounds: int, seed: int) -> Outcome:
    """Run on the bus of this host."""
    bus = await Bus.connect()
    observer = Observer()
    await observer.listen(bus)
    outcome = await Chaos(bus, observer, hire(seed, observer), seed).run(rounds)
    await bus.close()
    return outcome


if __name__ == "__main__":
    with prepared("".join(sys.argv[3:])):
        print(json.dumps(asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))))
