"""The broker's feed: the message flow, the questions, and the reminders."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import MAX_MESSAGES, MAX_WAITING, PageState
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records import decode_all
from wire.records.broker import (
    Message,
    MessageChange,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
    ReminderFilter,
    ReminderState,
)
from wire.signals import Signal

PAGE = 50
"""Items asked for at once: 50 of the longest messages fit into one D-Bus message."""

MAX_PAGES = 400
"""Pages of messages that wait which are read at most: 20,000 messages, more than the broker's
bounds let agents queue in an inbox."""

MAX_QUESTIONS = 50
"""Questions shown, and open ones, in addition to those that wait for the operator."""

MAX_REMINDERS = 500
"""Reminders shown: those that were set last."""


class BrokerFeed(Feed):
    """Messages, questions and reminders."""

    service = "broker"
    rules = ({"interface": names.BROKER},)

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._broker = BrokerClient(bus)
        self._questions_changed = False
        """Whether a question was asked or resolved."""
        self._reminders_changed = False
        """Whether a reminder was set, was cancelled, or is due."""

    async def fetch_all(self) -> None:
        """Fetch the newest messages, those that wait for the operator, questions and reminders."""
        newest = await self._messages(MessageFilter())
        unread = await self._waiting(
            MessageFilter(recipient=names.OPERATOR, state=MessageState.QUEUED)
        )
        dead = await self._waiting(MessageFilter(state=MessageState.DEAD))
        self.state.replace_messages([*dead, *unread, *newest])
        await self._fetch_questions()
        await self._fetch_reminders()

    async def fetch_changes(self) -> None:
        """Fetch questions and reminders if they have changed: their signals carry no texts."""
        if self._questions_changed:
            await self._fetch_questions()
        if self._reminders_changed:
            await self._fetch_reminders()

    async def _fetch_questions(self) -> None:
        """Fetch the newest questions, and those of each asker that wait for the operator."""
        self._questions_changed = False
        newest = await self._questions(QuestionFilter(), MAX_QUESTIONS)
        open_ = await self._questions(QuestionFilter(state=QuestionState.OPEN), MAX_QUESTIONS)
        self.state.replace_questions([*await self._open_questions(), *newest, *open_])

    async def _fetch_reminders(self) -> None:
        """Fetch the newest reminders that are pending."""
        self._reminders_changed = False
        wanted = ReminderFilter(state=ReminderState.PENDING)
        self.state.replace_reminders(
            await _newest(
                lambda before: self._broker.list_reminders(wanted._replace(before=before), PAGE),
                MAX_REMINDERS,
            )
        )

    def apply(self, signal: Signal) -> None:
        """Take over changes of messages; ask for the questions when one has changed."""
        match signal.member, signal.args:
            case "MessagesChanged", [rows]:
                if not self.state.change_messages(decode_all(MessageChange, rows)):
                    self.request_all()
            case "QuestionAdded" | "QuestionResolved", _:
                self._questions_changed = True
                self.request_changes()
            case "ReminderAdded" | "ReminderCancelled" | "ReminderDue", _:
                self._reminders_changed = True
                self.request_changes()

    async def _messages(self, wanted: MessageFilter) -> list[Message]:
        """Return the newest `wanted` messages, about MAX_MESSAGES, oldest first."""
        return await _newest(
            lambda before: self._broker.list_messages(wanted._replace(before=before), PAGE),
            MAX_MESSAGES,
        )

    async def _waiting(self, wanted: MessageFilter) -> list[Message]:
        """Return the newest `wanted` messages of each sender, a few more than MAX_WAITING."""
        kept: list[Message] = []
        number: Counter[str] = Counter()
        for _ in range(MAX_PAGES):
            page = await self._broker.list_messages(wanted, PAGE)
            for message in reversed(page):
                number[message.sender] += 1
                if number[message.sender] <= MAX_WAITING + 1:
                    kept.append(message)
            if len(page) < PAGE:
                break
            wanted = wanted._replace(before=page[0].id)
        return kept

    async def _open_questions(self) -> list[Question]:
        """Return the newest MAX_WAITING questions of each asker that wait for the operator."""
        wanted = QuestionFilter(recipient=names.OPERATOR, state=QuestionState.OPEN)
        kept: list[Question] = []
        number: Counter[str] = Counter()
        for _ in range(MAX_PAGES):
            page = await self._broker.list_questions(wanted, PAGE)
            for question in reversed(page):
                number[question.asker] += 1
                if number[question.asker] <= MAX_WAITING:
                    kept.append(question)
            if len(page) < PAGE:
                break
            wanted = wanted._replace(before=page[0].id)
        return kept

    async def _questions(self, wanted: QuestionFilter, limit: int) -> list[Question]:
        """Return the newest `wanted` questions, about `limit`, oldest first."""
        return await _newest(
            lambda before: self._broker.list_questions(wanted._replace(before=before), PAGE),
            limit,
        )


class _Numbered(Protocol):
    @property
    def id(self) -> int: ...


Item = TypeVar("Item", bound=_Numbered)


async def _newest(
    fetch_page: Callable[[int | None], Awaitable[list[Item]]], limit: int
) -> list[Item]:
    """Return about `limit` of the newest items, oldest first.

    Args:
        fetch_page: returns the newest PAGE items before an id, oldest first.
        limit: the number of items after which no more pages are asked for.
    """
    found: list[Item] = []
    while len(found) < limit:
        page = await fetch_page(found[0].id if found else None)
        found = page + found
        if len(page) < PAGE:
            break
    return found
