"""org.hyperhive.Broker1: forwards calls to the parts of the broker, and events to signals."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from services.broker.messages.changes import ChangeSignal
from services.broker.messages.inbox import Holder
from services.broker.parts import Parts
from wire import names
from wire.interface import Interface, caller, method, sender, signal
from wire.principal import AGENTS, EVERYBODY, OPERATOR, service
from wire.records import broker as records
from wire.records.broker import (
    Message,
    MessageChange,
    MessageCount,
    MessageState,
    Purged,
    Question,
    Reminder,
    Thread,
)
from wire.types import Dict, Int64, Str, StrList, UInt32, UInt64, UInt64List


class SenderWatch(Protocol):
    """The part of the bus that the interface needs, in addition to being exported."""

    def watch_sender(self, connection: str) -> asyncio.Future[None]:
        """Return a future that is done when `connection` has left the bus."""


class Broker1(Interface, name=names.BROKER):
    """The broker on the bus."""

    def __init__(self, parts: Parts, bus: SenderWatch) -> None:
        self._parts = parts
        self._broker = parts.broker
        self._bus = bus
        self._holders: dict[str, Holder] = {}
        self._changes = ChangeSignal(self.MessagesChanged)
        parts.announcer.listener = self

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        return await self._broker.send(caller(), to, body, options)

    @method(allow=AGENTS | OPERATOR)
    async def Receive(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        return await self._broker.receive(caller(), self._holder(), max, timeout_ms)

    @method(allow=AGENTS)
    async def ReceiveUrgent(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        return await self._broker.receive(caller(), self._holder(), max, timeout_ms, urgent=True)

    @method(allow=AGENTS | OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        await self._broker.acknowledge(caller(), sender(), ids)

    @method(allow=AGENTS)
    async def AcknowledgeCancelled(self, ids: UInt64List) -> None:
        await self._broker.acknowledge(caller(), sender(), ids, cancelled=True)

    @method(allow=AGENTS | OPERATOR)
    async def Release(self, ids: UInt64List, options: Dict) -> None:
        await self._broker.release(caller(), sender(), ids, options)

    @method(allow=AGENTS)
    async def GiveBack(self, ids: UInt64List, options: Dict) -> None:
        await self._broker.release(caller(), sender(), ids, options, uncounted=True)

    @method(allow=AGENTS | OPERATOR)
    async def Retract(self, id: UInt64) -> None:
        await self._broker.retract(caller(), id)

    @method(allow=AGENTS | OPERATOR | service("notify"))
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        return await self._parts.history.list_messages(caller(), filter, limit)

    @method(allow=OPERATOR)
    async def CountMessages(self) -> list[MessageCount]:
        return await self._parts.counts.all()

    @method(allow=OPERATOR)
    async def Requeue(self, ids: UInt64List) -> None:
        await self._broker.requeue(ids)

    @method(allow=OPERATOR)
    async def Drop(self, ids: UInt64List) -> None:
        await self._broker.drop(ids)

    @method(allow=OPERATOR)
    async def PurgeInbox(self, name: Str, options: Dict) -> Purged:
        return await self._broker.purge(name, options)

    @method(allow=AGENTS | OPERATOR)
    async def Ask(self, to: Str, question: Str, options: Dict) -> UInt64:
        return await self._parts.questions.ask(caller(), to, question, options)

    @method(allow=AGENTS | OPERATOR)
    async def Answer(self, id: UInt64, answer: StrList) -> None:
        await self._parts.questions.answer(caller(), id, answer)

    @method(allow=OPERATOR)
    async def AnswerFreely(self, id: UInt64, answer: StrList) -> None:
        await self._parts.questions.answer(caller(), id, answer, freely=True)

    @method(allow=AGENTS | OPERATOR)
    async def Cancel(self, id: UInt64) -> None:
        await self._parts.questions.cancel(caller(), id)

    @method(allow=AGENTS | OPERATOR | service("notify") | service("ledger"))
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        return await self._parts.history.list_questions(caller(), filter, limit)

    @method(allow=AGENTS | OPERATOR)
    async def Remind(self, due: Int64, body: Str, options: Dict) -> UInt64:
        return await self._parts.reminders.remind(caller(), due, body, options)

    @method(allow=AGENTS | OPERATOR)
    async def CancelReminder(self, id: UInt64) -> None:
        await self._parts.reminders.cancel(caller(), id)

    @method(allow=AGENTS | OPERATOR)
    async def ListReminders(self, filter: Dict, limit: UInt32) -> list[Reminder]:
        return await self._parts.reminders.list(caller(), filter, limit)

    @method(allow=AGENTS | OPERATOR)
    async def CountReminders(self) -> UInt64:
        return await self._parts.reminders.count(caller())

    @method(allow=AGENTS | OPERATOR)
    async def OpenThreads(self) -> list[Thread]:
        return await self._parts.threads.open(caller())

    @method(allow=service("lifecycle"))
    async def RegisterAgent(self, name: Str) -> None:
        await self._broker.register_agent(name)

    @method(allow=service("lifecycle"))
    async def UnregisterAgent(self, name: Str) -> None:
        await self._broker.unregister_agent(name)

    @method(allow=service("lifecycle"))
    async def SetInboxOptions(self, name: Str, options: Dict) -> None:
        await self._broker.set_inbox_options(name, options)

    @method(allow=OPERATOR | service("lifecycle") | service("ledger"))
    async def ListHolds(self) -> list[records.Hold]:
        return self._parts.holds.all()

    @method(allow=OPERATOR | service("lifecycle"))
    async def Hold(self, name: Str, text: Str) -> None:
        if caller().is_operator:
            await self._parts.holds.hold(name, text)
        else:
            await self._parts.holds.hold_limit(name, text)

    @method(allow=OPERATOR)
    async def Unhold(self, name: Str) -> None:
        await self._parts.holds.unhold(name)

    @method(allow=service("ledger"))
    async def HoldBudget(self, hold: Dict) -> UInt64:
        return await self._parts.holds.hold_budget(hold)

    @method(allow=service("ledger"))
    async def ReleaseBudget(self, names: StrList, question: UInt64) -> None:
        await self._parts.holds.release_budget(names, question)

    @method(allow=service("lifecycle"))
    async def ListWaiting(self) -> StrList:
        return sorted(await self._broker.waiting())

    @method(allow=OPERATOR | service("vacuum"))
    async def Vacuum(self) -> UInt64:
        return await self._parts.maintenance.vacuum()

    @method(allow=OPERATOR)
    async def Backup(self, path: Str) -> Str:
        return await self._parts.maintenance.backup(path)

    @signal()
    def MessagesChanged(self, changes: list[MessageChange]) -> None: ...

    @signal()
    def OperatorMessageQueued(self, sender: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def HoldsChanged(self, agent: Str, kind: Str, text: Str, since: Int64) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...

    @signal()
    def QuestionResolved(self, sender: Str, id: UInt64, to: Str, state: Str) -> None: ...

    @signal()
    def ReminderAdded(self, owner: Str, id: UInt64) -> None: ...

    @signal()
    def ReminderCancelled(self, owner: Str, id: UInt64) -> None: ...

    @signal()
    def ReminderDue(self, owner: Str, id: UInt64, message: UInt64) -> None: ...

    def close(self) -> None:
        """Send the changes that wait for the end of a window."""
        self._changes.close()

    def messages_changed(self, changes: Sequence[MessageChange]) -> None:
        """See Events."""
        self._changes.add(changes)
        for change in changes:
            if change.recipient == names.OPERATOR and change.state is MessageState.QUEUED:
                self.OperatorMessageQueued(change.sender, change.id, change.kind)

    def question_added(self, question: Question) -> None:
        """See Events."""
        self.QuestionAdded(question.recipient, question.id, question.asker)

    def question_resolved(self, question: Question) -> None:
        """See Events."""
        self.QuestionResolved(question.asker, question.id, question.recipient, question.state)

    def reminder_added(self, owner: str, reminder_id: int) -> None:
        """See Events."""
        self.ReminderAdded(owner, reminder_id)

    def reminder_cancelled(self, owner: str, reminder_id: int) -> None:
        """See Events."""
        self.ReminderCancelled(owner, reminder_id)

    def reminder_due(self, owner: str, reminder_id: int, message_id: int) -> None:
        """See Events."""
        self.ReminderDue(owner, reminder_id, message_id)

    def holds_changed(self, change: records.HoldsChanged) -> None:
        """See Events."""
        self.HoldsChanged(*change)

    def _holder(self) -> Holder:
        """Return the caller's connection; it has one watch, however often it calls."""
        name = sender()
        if name not in self._holders:
            left = self._bus.watch_sender(name)
            left.add_done_callback(lambda _: self._holders.pop(name, None))
            self._holders[name] = Holder(name, left)
        return self._holders[name]
