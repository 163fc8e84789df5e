"""The broker over the system bus: each method is one question or one order to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from hivectl.output.records import Message, Question, Reminder, Thread
from wire import names
from wire.bus import Bus
from wire.errors import NotFound
from wire.signals import DAEMON, Signal
from wire.types import U64

MAX_LISTED = 1000
"""As many records as the broker lists at once."""


class Broker:
    """Messages, questions and reminders, as the operator sees them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    # Messages

    async def send(self, to: str, body: str, options: Mapping[str, Any]) -> int:
        """Send a message; returns its id once it is on disk."""
        return int(await self._ask("Send", "ssa{sv}", to, body, dict(options)))

    async def messages(self, wanted: Mapping[str, Any], limit: int) -> list[Message]:
        """The newest `limit` messages that match `wanted`, oldest first."""
        structs = await self._ask("ListMessages", "a{sv}u", dict(wanted), limit)
        return [Message.from_struct(fields) for fields in structs]

    async def inbox(self, *, everything: bool = False) -> list[Message]:
        """The operator's messages: those not acknowledged, or `everything`."""
        wanted = {"to": names.OPERATOR}
        return await self.messages(
            wanted if everything else wanted | {"state": "queued"}, MAX_LISTED
        )

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Mark messages to the operator as dealt with."""
        await self._order("Acknowledge", "at", list(ids))

    async def await_inbox(self, seconds: float) -> list[Message]:
        """The operator's inbox as soon as something is in it; empty after `seconds` of nothing."""
        # Subscribe first: what is queued between the look and the wait sets the event.
        async with self._news("MessageQueued") as news:
            try:
                async with asyncio.timeout(seconds):
                    while not (messages := await self.inbox()):
                        await news.wait()
                        news.clear()
                    return messages
            except TimeoutError:
                return []

    async def requeue(self, ids: Sequence[int]) -> None:
        """Queue dead letters again."""
        await self._order("Requeue", "at", list(ids))

    async def drop(self, ids: Sequence[int]) -> None:
        """End dead letters; they stay in the history."""
        await self._order("Drop", "at", list(ids))

    # Questions

    async def ask(self, to: str, question: str, options: Mapping[str, Any]) -> int:
        """Ask `to`; returns the question's id once it is on disk."""
        return int(await self._ask("Ask", "ssa{sv}", to, question, dict(options)))

    async def questions(self, wanted: Mapping[str, Any], limit: int) -> list[Question]:
        """The newest `limit` questions that match `wanted`, oldest first."""
        structs = await self._ask("ListQuestions", "a{sv}u", dict(wanted), limit)
        return [Question.from_struct(fields) for fields in structs]

    async def question(self, number: int) -> Question:
        """The question `number`; raises NotFound when there is none."""
        found = await self.questions({"after": U64(number - 1), "before": U64(number + 1)}, 1)
        if not found:
            raise NotFound(f"There is no question {number}; `hivectl questions --all` shows them.")
        return found[0]

    async def answer(self, number: int, answer: Sequence[str]) -> None:
        """Answer a question."""
        await self._order("Answer", "tas", number, list(answer))

    async def cancel_question(self, number: int) -> None:
        """Take a question back."""
        await self._order("Cancel", "t", number)

    @asynccontextmanager
    async def resolutions(self) -> AsyncIterator["Resolutions"]:
        """Watch how the operator's questions end. Enter it *before* asking, or a quick end
        is missed."""
        async with self._news("QuestionResolved") as news:
            yield Resolutions(self, news)

    # Reminders

    async def remind(self, due: int, body: str, options: Mapping[str, Any]) -> int:
        """Store a reminder for the operator; returns its id once it is on disk."""
        return int(await self._ask("Remind", "xsa{sv}", due, body, dict(options)))

    async def reminders(self, wanted: Mapping[str, Any], limit: int) -> list[Reminder]:
        """The newest `limit` reminders that match `wanted`, oldest first."""
        structs = await self._ask("ListReminders", "a{sv}u", dict(wanted), limit)
        return [Reminder.from_struct(fields) for fields in structs]

    async def cancel_reminder(self, number: int) -> None:
        """Take a pending reminder back."""
        await self._order("CancelReminder", "t", number)

    # All of it

    async def threads(self) -> list[Thread]:
        """What is open in the whole hive."""
        return [Thread.from_dict(row) for row in await self._ask("OpenThreads", "")]

    async def vacuum(self) -> int:
        """Delete what is done and old; returns how much that was."""
        return int(await self._ask("Vacuum", "", timeout=KEEPING_SECONDS))

    async def backup(self, name: str) -> str:
        """Copy the store into the broker's own directory; returns the path of the copy."""
        return str(await self._ask("Backup", "s", name, timeout=KEEPING_SECONDS))

    async def _ask(self, member: str, signature: str, *args: Any, timeout: float = 25.0) -> Any:
        return await self._bus.call1(
            *(names.BROKER, names.BROKER_PATH, names.BROKER, member, signature, *args),
            timeout=timeout,
        )

    async def _order(self, member: str, signature: str, *args: Any) -> None:
        await self._bus.call(
            names.BROKER, names.BROKER_PATH, names.BROKER, member, signature, *args
        )

    @asynccontextmanager
    async def _news(self, member: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set by each signal `member` that concerns the operator, and when a
        broker comes (back): then it is worth a look."""
        news = asyncio.Event()

        def on_owner(signal: Signal) -> None:
            if signal.args[2]:
                news.set()

        told = await self._bus.on_signal(
            lambda _signal: news.set(),
            sender=names.BROKER,
            interface=names.BROKER,
            member=member,
            arg0=names.OPERATOR,
        )
        try:
            owner = await self._bus.on_signal(
                on_owner,
                sender=DAEMON,
                interface=DAEMON,
                member="NameOwnerChanged",
                arg0=names.BROKER,
            )
            try:
                yield news
            finally:
                await owner.close()
        finally:
            await told.close()


KEEPING_SECONDS = 600.0
"""How long a copy or a clean-up of a large store may take."""


class Resolutions:
    """The ends of the operator's questions since the watch began."""

    def __init__(self, broker: Broker, news: asyncio.Event) -> None:
        self._broker = broker
        self._news = news

    async def end_of(self, number: int, seconds: float) -> Question:
        """The question `number` once it is no longer open, or as it is after `seconds`."""
        question = await self._broker.question(number)
        try:
            async with asyncio.timeout(seconds):
                while question.state == "open":
                    await self._news.wait()
                    self._news.clear()
                    question = await self._broker.question(number)
        except TimeoutError:
            pass
        return question
