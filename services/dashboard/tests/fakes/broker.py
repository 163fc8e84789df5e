"""A fake of the broker, with the messages, questions and reminders of a test."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
from collections import Counter
from typing import Any

from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.errors import Conflict, NotFound
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.broker import (
    PREVIEW,
    Message,
    MessageChange,
    MessageCount,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
    Reminder,
    ReminderFilter,
    ReminderState,
    SendOptions,
)
from wire.types import Dict, Str, StrList, UInt32, UInt64, UInt64List


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self, earlier: "FakeBroker | None" = None) -> None:
        """Begin with nothing, or with the content of `earlier`."""
        self.log: list[Message] = earlier.log if earlier else []
        self.read: list[int] = earlier.read if earlier else []
        self.questions: list[Question] = earlier.questions if earlier else []
        self.reminders: list[Reminder] = earlier.reminders if earlier else []
        self.freely: list[int] = []
        """The questions that were answered with `AnswerFreely`."""
        self.answering: asyncio.Event | None = None
        """If given, answers wait for it."""
        self._listing = asyncio.Event()
        self.counted = 0
        self.unheld: list[str] = []

    @method(allow=OPERATOR)
    async def Unhold(self, name: Str) -> None:
        self.unheld.append(name)

    def message(self, number: int) -> Message:
        if not 0 < number <= len(self.log):
            raise NotFound(f"There is no message {number}.")
        return self.log[number - 1]

    def add(
        self, sender: str, to: str, body: str, kind: str = "message", in_reply_to: int = 0
    ) -> int:
        number = len(self.log) + 1
        self.log.append(
            Message(
                id=number,
                sender=sender,
                recipient=to,
                kind=kind,
                body=body,
                queued=NOW + number,
                redeliveries=0,
                urgent=False,
                in_reply_to=in_reply_to,
                state=MessageState.QUEUED,
            )
        )
        return number

    def arrive(self, sender: str, to: str, body: str, in_reply_to: int = 0) -> int:
        number = self.add(sender, to, body, in_reply_to=in_reply_to)
        self.changed(number)
        return number

    def move(self, number: int, state: MessageState, redeliveries: int) -> None:
        """Change the state of a message, and announce that without its text."""
        self.log[number - 1] = self._set(number, state)._replace(redeliveries=redeliveries)
        self.changed(number, text=False)

    def changed(self, number: int, *, text: bool = True) -> None:
        """Announce the present state of a message."""
        m = self.message(number)
        body = m.body if text else ""
        self.MessagesChanged(
            [
                MessageChange(
                    m.id, m.sender, m.recipient, m.kind, m.state, body[:PREVIEW], len(body),
                    m.queued, m.redeliveries, m.urgent, m.in_reply_to, m.reason,
                )
            ]
        )  # fmt: skip

    def _set(self, number: int, state: MessageState) -> Message:
        self.log[number - 1] = message = self.message(number)._replace(state=state)
        return message

    @method(allow=OPERATOR)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        if to not in ("manager", "alice", "bob", "*"):
            raise NotFound(f"There is no agent {to}.")
        wanted = decode(SendOptions, options)
        return self.arrive("operator", to, body, wanted.in_reply_to or 0)

    @method(allow=OPERATOR)
    async def CountMessages(self) -> list[MessageCount]:
        self.counted += 1
        inboxes = Counter((m.recipient, m.state) for m in self.log)
        open_ = (MessageState.QUEUED, MessageState.LEASED, MessageState.DEAD)
        return [MessageCount(*key, n) for key, n in sorted(inboxes.items()) if key[1] in open_]

    @method(allow=OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        for number in ids:
            self.read.append(number)
            self._set(number, MessageState.ACKNOWLEDGED)
            self.changed(number, text=False)

    @method(allow=OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        wanted = decode(MessageFilter, filter)
        found = [
            one
            for one in self.log
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.recipient in (None, one.recipient)
            and wanted.agent in (None, one.sender, one.recipient)
            and wanted.state in (None, one.state)
            and wanted.kind in (None, one.kind)
            and (wanted.since or 0) <= one.queued < (wanted.until or 2**63)
            and (wanted.thread is None or one.id in self._thread(wanted.thread))
            and all(word in one.body for word in (wanted.text or "").split())
        ]
        return found[-limit:]

    def _thread(self, number: int) -> set[int]:
        thread = set()
        while 0 < number <= len(self.log):
            thread.add(number)
            number = self.log[number - 1].in_reply_to
        for one in self.log:
            if one.in_reply_to in thread:
                thread.add(one.id)
        return thread

    def remind(self, owner: str, due: int, body: str, file: str = "") -> int:
        """Set a reminder."""
        number = len(self.reminders) + 1
        state = ReminderState.PENDING
        self.reminders.append(Reminder(number, owner, due, body, file, NOW, state, 0))
        self.ReminderAdded(owner, number)
        return number

    @method(allow=OPERATOR)
    async def CancelReminder(self, id: UInt64) -> None:
        if not 0 < id <= len(self.reminders):
            raise NotFound(f"There is no reminder {id}.")
        self.reminders[id - 1] = gone = self.reminders[id - 1]._replace(
            state=ReminderState.CANCELLED
        )
        self.ReminderCancelled(gone.owner, id)

    @method(allow=OPERATOR)
    async def ListReminders(self, filter: Dict, limit: UInt32) -> list[Reminder]:
        wanted = decode(ReminderFilter, filter)
        found = [
            one
            for one in self.reminders
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.state in (None, one.state)
        ]
        return found[-limit:]

    def ask(
        self, sender: str, to: str, text: str, *choices: str, multi: bool = False, **more: Any
    ) -> int:
        """Ask a question; `more` are further fields of the record."""
        number = len(self.questions) + 1
        self.questions.append(
            Question(
                id=number,
                asker=sender,
                recipient=to,
                text=text,
                choices=list(choices),
                multi=multi,
                asked=NOW + number,
                deadline=NOW + 10**9,
                state=QuestionState.OPEN,
                answer=[],
                answered_by="",
                resolved=0,
            )._replace(**more)
        )
        self.QuestionAdded(to, number, sender)
        return number

    @method(allow=OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        if self.answering is not None:
            await self.answering.wait()
        if answer == ["too late"]:
            raise Conflict("This question was answered already.")
        if not 0 < id <= len(self.questions):
            raise NotFound(f"There is no question {id}.")
        known = self.questions[id - 1].state
        if known is not QuestionState.OPEN:
            raise Conflict(f"Question {id} is no longer open: it is {known} by operator.")
        self.questions[id - 1] = question = self.questions[id - 1]._replace(
            state=QuestionState.ANSWERED,
            answer=answer,
            answered_by="operator",
            resolved=NOW + 1000,
        )
        self.QuestionResolved(question.asker, id, "operator", "answered")

    @method(allow=OPERATOR)
    async def AnswerFreely(self, id: UInt64, answer: StrList) -> None:
        self.freely.append(id)
        await self.Answer(id, answer)

    @method(allow=OPERATOR)
    async def Cancel(self, id: UInt64) -> None:
        if not 0 < id <= len(self.questions):
            raise NotFound(f"There is no question {id}.")
        self.cancel(id)

    def cancel(self, number: int) -> None:
        """Cancel a question, as its asker does."""
        self.questions[number - 1] = question = self.questions[number - 1]._replace(
            state=QuestionState.CANCELLED, resolved=NOW + 1000
        )
        self.QuestionResolved(question.asker, number, question.recipient, "cancelled")

    async def listed(self) -> None:
        """Wait until somebody asks for the questions."""
        await self._listing.wait()

    @method(allow=OPERATOR)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        self._listing.set()
        self._listing = asyncio.Event()
        wanted = decode(QuestionFilter, filter)
        found = [
            one
            for one in self.questions
            if (wanted.after or 0) < one.id < (wanted.before or 2**63)
            and wanted.recipient in (None, one.recipient)
            and wanted.agent in (None, one.asker, one.recipient)
            and wanted.state in (None, one.state)
        ]
        return found[-limit:]

    def park(self, number: int, reason: str = "") -> None:
        dead = self._set(number, MessageState.DEAD)
        self.log[number - 1] = dead._replace(reason=reason)
        self.changed(number)

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        for number in ids:
            self._set(number, MessageState.QUEUED)
            self.changed(number)

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        for number in ids:
            self._set(number, MessageState.DROPPED)
            self.changed(number)

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...

    @signal()
    def ReminderAdded(self, owner: Str, id: UInt64) -> None: ...

    @signal()
    def ReminderCancelled(self, owner: Str, id: UInt64) -> None: ...
