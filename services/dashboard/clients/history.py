"""The history of messages: pages of what the broker keeps, and threads."""

from typing import Final, NamedTuple

from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.rows import message_row
from services.dashboard.state.tables import Row
from wire.clients.broker import BrokerClient
from wire.errors import NotFound
from wire.records.broker import Message, MessageFilter

PAGE: Final = 50
"""Messages asked for at once: 50 of the longest ones fit into one D-Bus message."""

MAX_ROWS: Final = 200
"""Messages of one page of the history."""


class Found(NamedTuple):
    """Rows of messages, oldest first."""

    messages: list[Row]
    more: bool
    """Whether there may be older ones."""


class MessageHistory:
    """The messages that the broker keeps. Each method raises a HiveError that says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._broker = BrokerClient(caller)

    async def page(self, wanted: MessageFilter, limit: int) -> Found:
        """Return the newest `limit` messages that match, at most MAX_ROWS."""
        found, more = await self._newest(wanted, min(limit, MAX_ROWS))
        return Found([message_row(message) for message in found], more)

    async def thread(self, number: int, before: int | None, limit: int) -> Found:
        """Return the newest messages of a thread, at most MAX_ROWS.

        Args:
            number: a message of it.
            before: only messages with a smaller number; None: the newest.
            limit: the most messages.
        """
        found = await self.page(MessageFilter(thread=number, before=before), limit)
        if not found.messages and before is None:
            raise NotFound(f"There is no message {number}: the broker may have deleted it.")
        return found

    async def _newest(self, wanted: MessageFilter, limit: int) -> tuple[list[Message], bool]:
        """Return the newest messages that match, oldest first, and whether there may be more."""
        found: list[Message] = []
        while len(found) < limit:
            # An answer with long texts has fewer messages than asked for, but never none.
            page = await self._broker.list_messages(wanted, min(PAGE, limit - len(found)))
            if not page:
                return found, False
            found = page + found
            wanted = wanted._replace(before=page[0].id)
        return found, True
