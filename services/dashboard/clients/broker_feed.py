"""The broker's feed: the message flow, and the questions."""

from collections.abc import Mapping
from typing import Any

from wire import names
from wire.signals import Signal
from wire.types import U64

from ..state.page_state import MAX_MESSAGES
from .feed import Feed

PAGE = 50
"""Messages asked for at once: 50 of the longest ones fit into one D-Bus message."""

MAX_QUESTIONS = 50
"""Questions shown, in addition to those that wait for the operator."""


class BrokerFeed(Feed):
    """Messages and questions."""

    service = "broker"
    rules = ({"interface": names.BROKER},)
    _first_new: int | None = None
    """The lowest id of the messages to ask for."""
    _parked = False
    """Whether there are new dead letters, which may be older than the messages shown."""
    _questions_changed = False
    """Whether a question was asked or resolved."""

    async def fetch_all(self) -> None:
        """Fetch the newest messages, all that wait for the operator, and the questions."""
        self._first_new, self._parked = None, False
        newest = await self._list({}, MAX_MESSAGES)
        self.state.replace_messages([*await self._dead(), *await self._unread({}), *newest])
        await self._fetch_questions()

    async def fetch_changes(self) -> None:
        """Fetch what was queued, parked or asked since: signals carry no texts."""
        if self._first_new is not None:
            first, self._first_new = self._first_new, None
            wanted = {"after": U64(first - 1)}
            added = await self._list(wanted, MAX_MESSAGES)
            # Mostly that was all; else messages that wait for the operator may be further back.
            if not added or added[0][0] != first:
                added = [*await self._unread(wanted), *added]
            self.state.add_messages(added)
        if self._parked:
            self._parked = False
            self.state.add_messages(await self._dead())
        if self._questions_changed:
            await self._fetch_questions()

    async def _fetch_questions(self) -> None:
        """Fetch the newest questions, and all that wait for the operator."""
        self._questions_changed = False
        newest = await self._list({}, MAX_QUESTIONS, "ListQuestions")
        wanted = {"to": names.OPERATOR, "state": "open"}
        waiting = await self._list(wanted, MAX_MESSAGES, "ListQuestions")
        self.state.replace_questions([*waiting, *newest])

    async def _unread(self, wanted: Mapping[str, Any]) -> list[list[Any]]:
        """List those of the `wanted` messages that wait in the operator's inbox."""
        unread = {**wanted, "to": names.OPERATOR, "state": "queued"}
        return await self._list(unread, MAX_MESSAGES)

    async def _dead(self) -> list[list[Any]]:
        """List the dead letters."""
        return await self._list({"state": "dead"}, MAX_MESSAGES)

    def apply(self, signal: Signal) -> None:
        """Set the states of messages; request the texts of new messages and questions."""
        match signal.member, signal.args:
            case "MessageQueued", [_, int(message), *_]:
                # A message that is queued again may be older than those that will be asked for.
                self.state.set_message_state(message, "queued")
                self._first_new = min(message, self._first_new or message)
                self.request_changes()
            case "MessageDelivered", [_, int(message), int(redeliveries)]:
                self.state.set_message_state(message, "leased", redeliveries)
            case "MessageAcknowledged", [_, int(message)]:
                self.state.set_message_state(message, "acknowledged")
            case "MessageParked", [_, int(message), int(redeliveries)]:
                self.state.set_message_state(message, "dead", redeliveries)
                self._parked = True
                self.request_changes()
            case "MessageDropped", [_, int(message)]:
                self.state.set_message_state(message, "dropped")
            case "QuestionAdded" | "QuestionResolved", _:
                self._questions_changed = True
                self.request_changes()

    async def _list(
        self, wanted: Mapping[str, Any], limit: int, member: str = "ListMessages"
    ) -> list[list[Any]]:
        """Return the newest `wanted` messages or questions, about `limit`, oldest first."""
        found: list[list[Any]] = []
        before: dict[str, Any] = {}
        while len(found) < limit:
            page: list[list[Any]] = await self.bus.call1(
                self.name, self.path, self.name, member, "a{sv}u", {**wanted, **before}, PAGE
            )
            found = page + found
            if len(page) < PAGE:
                break
            before = {"before": U64(page[0][0])}
        return found
