"""The broker as its callers see it; docs/dbus.md describes each member."""

from collections.abc import AsyncIterator

from wire import names
from wire.clients.client import Client, remote
from wire.records import decode_all
from wire.records.broker import (
    AskOptions,
    BudgetHold,
    Hold,
    InboxOptions,
    Message,
    MessageChange,
    MessageCount,
    MessageFilter,
    Purged,
    PurgeOptions,
    Question,
    QuestionFilter,
    ReleaseOptions,
    Reminder,
    ReminderFilter,
    RemindOptions,
    SendOptions,
    Thread,
)
from wire.signals import SignalStream
from wire.types import Int64, Str, StrList, UInt32, UInt64, UInt64List


async def message_changes(signals: SignalStream) -> AsyncIterator[MessageChange]:
    """Yield the changes in a stream of the signal MessagesChanged; other signals are skipped.

    Raises:
        Unavailable: the connection to the bus was lost.
    """
    async for signal in signals:
        if signal.member == "MessagesChanged":
            [rows] = signal.args
            for change in decode_all(MessageChange, rows):
                yield change


class BrokerClient(Client, interface=names.BROKER, path=names.BROKER_PATH):
    """org.hyperhive.Broker1."""

    @remote("Send")
    async def send(self, to: Str, body: Str, options: SendOptions) -> UInt64:
        """Queue a message and return its id, once the message is on disk."""

    @remote("Receive")
    async def receive(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        """Lease the next messages to the caller's connection; wait for the first."""

    @remote("ReceiveUrgent")
    async def receive_urgent(self, max: UInt32, timeout_ms: UInt32) -> list[Message]:
        """Lease the next urgent messages to the caller's connection; wait for the first."""

    @remote("Acknowledge")
    async def acknowledge(self, ids: UInt64List) -> None:
        """Mark messages as done."""

    @remote("AcknowledgeCancelled")
    async def acknowledge_cancelled(self, ids: UInt64List) -> None:
        """Mark messages as done whose turn was cancelled."""

    @remote("Release")
    async def release(self, ids: UInt64List, options: ReleaseOptions) -> None:
        """Queue leased messages again."""

    @remote("GiveBack")
    async def give_back(self, ids: UInt64List, options: ReleaseOptions) -> None:
        """Queue leased messages again, and do not count the delivery."""

    @remote("Retract")
    async def retract(self, id: UInt64) -> None:
        """Take a message back that the caller sent."""

    @remote("ListMessages")
    async def list_messages(self, filter: MessageFilter, limit: UInt32) -> list[Message]:
        """Return the newest `limit` messages that match, oldest first."""

    @remote("CountMessages")
    async def count_messages(self) -> list[MessageCount]:
        """Return how many messages each inbox has in each state that is not final."""

    @remote("Requeue")
    async def requeue(self, ids: UInt64List) -> None:
        """Queue dead letters again."""

    @remote("Drop")
    async def drop(self, ids: UInt64List) -> None:
        """End dead letters."""

    @remote("PurgeInbox")
    async def purge_inbox(self, name: Str, options: PurgeOptions) -> Purged:
        """Drop the queued messages of an inbox."""

    @remote("Ask")
    async def ask(self, to: Str, question: Str, options: AskOptions) -> UInt64:
        """Ask a question and return its id, once the question is on disk."""

    @remote("Answer")
    async def answer(self, id: UInt64, answer: StrList) -> None:
        """Answer a question."""

    @remote("AnswerFreely")
    async def answer_freely(self, id: UInt64, answer: StrList) -> None:
        """Answer a question; one text may be none of its choices."""

    @remote("Cancel")
    async def cancel(self, id: UInt64) -> None:
        """Take a question back."""

    @remote("ListQuestions")
    async def list_questions(self, filter: QuestionFilter, limit: UInt32) -> list[Question]:
        """Return the newest `limit` questions that match, oldest first."""

    @remote("Remind")
    async def remind(self, due: Int64, body: Str, options: RemindOptions) -> UInt64:
        """Set a reminder and return its id, once the reminder is on disk."""

    @remote("CancelReminder")
    async def cancel_reminder(self, id: UInt64) -> None:
        """Take a reminder back."""

    @remote("ListReminders")
    async def list_reminders(self, filter: ReminderFilter, limit: UInt32) -> list[Reminder]:
        """Return the newest `limit` reminders that match, oldest first."""

    @remote("CountReminders")
    async def count_reminders(self) -> UInt64:
        """Return how many reminders of the caller are pending."""

    @remote("OpenThreads")
    async def open_threads(self) -> list[Thread]:
        """Return everything that somebody still waits for."""

    @remote("RegisterAgent")
    async def register_agent(self, name: Str) -> None:
        """Accept messages for an agent."""

    @remote("UnregisterAgent")
    async def unregister_agent(self, name: Str) -> None:
        """Refuse messages for an agent."""

    @remote("SetInboxOptions")
    async def set_inbox_options(self, name: Str, options: InboxOptions) -> None:
        """Set the limits of an agent's inbox; those that are left out have their defaults."""

    @remote("ListHolds")
    async def list_holds(self) -> list[Hold]:
        """Return the held agents, by their names."""

    @remote("Hold")
    async def hold(self, name: Str, text: Str) -> None:
        """Hold an agent: it gets no messages until `unhold`."""

    @remote("Unhold")
    async def unhold(self, name: Str) -> None:
        """End the hold of an agent."""

    @remote("HoldBudget")
    async def hold_budget(self, hold: BudgetHold) -> UInt64:
        """Hold agents whose budget is used up; return the question to the operator about it."""

    @remote("ReleaseBudget")
    async def release_budget(self, names: StrList, question: UInt64) -> None:
        """End the holds of agents for budgets, and cancel the question if it is open."""

    @remote("ListWaiting")
    async def list_waiting(self) -> StrList:
        """Return the names whose inboxes have messages that are not done."""

    @remote("Vacuum")
    async def vacuum(self) -> UInt64:
        """Delete old records and return how many those were."""

    @remote("Backup")
    async def backup(self, path: Str) -> Str:
        """Copy the store and return the path of the copy."""
