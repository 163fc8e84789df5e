"""A client of the broker over the system bus."""

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
"""The most records that the broker lists at once."""


class Broker:
    """The service that keeps messages, questions and reminders, seen as the operator."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    # Messages

    async def send(self, to: str, body: str, options: Mapping[str, Any]) -> int:
        """Send a message; return its ID once the message is on disk."""
        return int(await self._ask("Send", "ssa{sv}", to, body, dict(options)))

    async def messages(self, wanted: Mapping[str, Any], limit: int) -> list[Message]:
        """Return the newest `limit` messages that match `wanted`, oldest first."""
        structs = await self._ask("ListMessages", "a{sv}u", dict(wanted), limit)
        return [Message.from_struct(fields) for fields in structs]

    async def inbox(self, *, everything: bool = False) -> list[Message]:
        """Return the unacknowledged messages to the operator, or all if `everything`."""
        wanted = {"to": names.OPERATOR}
        return await self.messages(
            wanted if everything else wanted | {"state": "queued"}, MAX_LISTED
        )

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Acknowledge messages to the operator."""
        await self._order("Acknowledge", "at", list(ids))

    async def await_inbox(self, seconds: float) -> list[Message]:
        """Return the inbox as soon as it has a message, or empty after `seconds` without one."""
        # Subscribe first: a message that is queued between look and wait sets the event.
        async with self._changes("MessageQueued") as changed:
            try:
                async with asyncio.timeout(seconds):
                    while not (messages := await self.inbox()):
                        await changed.wait()
                        changed.clear()
                    return messages
            except TimeoutError:
                return []

    async def requeue(self, ids: Sequence[int]) -> None:
        """Queue dead letters again."""
        await self._order("Requeue", "at", list(ids))

    async def drop(self, ids: Sequence[int]) -> None:
        """Give dead letters up; they remain in the history."""
        await self._order("Drop", "at", list(ids))

    # Questions

    async def ask(self, to: str, question: str, options: Mapping[str, Any]) -> int:
        """Ask `to` a question; return its ID once the question is on disk."""
        return int(await self._ask("Ask", "ssa{sv}", to, question, dict(options)))

    async def questions(self, wanted: Mapping[str, Any], limit: int) -> list[Question]:
        """Return the newest `limit` questions that match `wanted`, oldest first."""
        structs = await self._ask("ListQuestions", "a{sv}u", dict(wanted), limit)
        return [Question.from_struct(fields) for fields in structs]

    async def question(self, number: int) -> Question:
        """Return the question `number`.

        Raises:
            NotFound: there is no such question.
        """
        found = await self.questions({"after": U64(number - 1), "before": U64(number + 1)}, 1)
        if not found:
            raise NotFound(f"There is no question {number}; `hivectl questions --all` shows them.")
        return found[0]

    async def answer(self, number: int, answer: Sequence[str]) -> None:
        """Answer a question."""
        await self._order("Answer", "tas", number, list(answer))

    async def cancel_question(self, number: int) -> None:
        """Cancel a question."""
        await self._order("Cancel", "t", number)

    @asynccontextmanager
    async def resolutions(self) -> AsyncIterator["Resolutions"]:
        """Watch how the operator's questions end.

        Enter the context *before* asking: a quick end is missed otherwise.
        """
        async with self._changes("QuestionResolved") as changed:
            yield Resolutions(self, changed)

    # Reminders

    async def remind(self, due: int, body: str, options: Mapping[str, Any]) -> int:
        """Store a reminder for the operator; return its ID once the reminder is on disk."""
        return int(await self._ask("Remind", "xsa{sv}", due, body, dict(options)))

    async def reminders(self, wanted: Mapping[str, Any], limit: int) -> list[Reminder]:
        """Return the newest `limit` reminders that match `wanted`, oldest first."""
        structs = await self._ask("ListReminders", "a{sv}u", dict(wanted), limit)
        return [Reminder.from_struct(fields) for fields in structs]

    async def cancel_reminder(self, number: int) -> None:
        """Cancel a pending reminder."""
        await self._order("CancelReminder", "t", number)

    # The whole store

    async def threads(self) -> list[Thread]:
        """Return the open threads of the whole hive."""
        return [Thread.from_dict(row) for row in await self._ask("OpenThreads", "")]

    async def vacuum(self) -> int:
        """Delete completed records that are old; return how many."""
        return int(await self._ask("Vacuum", "", timeout=MAINTENANCE_SECONDS))

    async def backup(self, name: str) -> str:
        """Back the store up into the broker's own directory; return the path of the backup."""
        return str(await self._ask("Backup", "s", name, timeout=MAINTENANCE_SECONDS))

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
    async def _changes(self, member: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set by each signal `member` to the operator.

        A broker that starts sets it as well: signals were missed while there was none.
        """
        changed = asyncio.Event()

        def on_owner(signal: Signal) -> None:
            if signal.args[2]:
                changed.set()

        told = await self._bus.on_signal(
            lambda _signal: changed.set(),
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
                yield changed
            finally:
                await owner.close()
        finally:
            await told.close()


MAINTENANCE_SECONDS = 600.0
"""How long a backup or a vacuum of a large store may take."""


class Resolutions:
    """The ends of the operator's questions since the watch began."""

    def __init__(self, broker: Broker, changed: asyncio.Event) -> None:
        self._broker = broker
        self._changes = changed

    async def end_of(self, number: int, seconds: float) -> Question:
        """Return the question `number` once it is not open any more, or after `seconds`."""
        question = await self._broker.question(number)
        try:
            async with asyncio.timeout(seconds):
                while question.state == "open":
                    await self._changes.wait()
                    self._changes.clear()
                    question = await self._broker.question(number)
        except TimeoutError:
            pass
        return question
