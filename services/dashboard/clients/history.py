"""The history of messages: pages of what the broker keeps, and threads."""

from typing import Final, NamedTuple

from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.rows import message_row
from services.dashboard.state.tables import Row
from wire import names
from wire.clients.broker import BrokerClient
from wire.errors import NotFound
from wire.records.broker import Message, MessageFilter

PAGE: Final = 50
"""Messages asked for at once: 50 of the longest ones fit into one D-Bus message."""

MAX_ROWS: Final = 200
"""Messages of one page of the history."""

MAX_UP: Final = 50
"""Messages that are looked for above one in its thread."""

MAX_DOWN: Final = 1000
"""Later messages of an agent among which the answers in a thread are looked for."""


class Found(NamedTuple):
    """Rows of messages, oldest first."""

    messages: list[Row]
    more: bool
    """Whether there may be older ones; of a thread: further ones."""


class MessageHistory:
    """The messages that the broker keeps. Each method raises a HiveError that says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._broker = BrokerClient(caller)

    async def page(self, wanted: MessageFilter, limit: int) -> Found:
        """Return the newest `limit` messages that match, at most MAX_ROWS."""
        found, more = await self._newest(wanted, min(limit, MAX_ROWS))
        return Found([message_row(message) for message in found], more)

    async def message(self, number: int) -> Message:
        """Return one message, whole."""
        wanted = MessageFilter(after=number - 1, before=number + 1)
        for found in await self._broker.list_messages(wanted, 1):
            return found
        raise NotFound(f"There is no message {number}: the broker may have deleted it.")

    async def thread(self, number: int) -> Found:
        """Return the messages that a message answers, itself, and those that answer one of them.

        The broker has no index of answers. They are looked for among the later messages of the
        agent that has sent or received the message.
        """
        thread = [await self.message(number)]
        while thread[0].in_reply_to and len(thread) <= MAX_UP:
            try:
                thread.insert(0, await self.message(thread[0].in_reply_to))
            except NotFound:
                break
        first, last = thread[0], thread[-1]
        wanted = MessageFilter(agent=_agent_of(last), after=first.id)
        later, more = await self._newest(wanted, MAX_DOWN)
        known = {message.id for message in thread}
        for message in later:
            if message.in_reply_to in known and message.id not in known:
                known.add(message.id)
                thread.append(message)
        rows = [message_row(message) for message in sorted(thread, key=lambda one: one.id)]
        return Found(rows, more or (len(thread) > MAX_UP and bool(first.in_reply_to)))

    async def _newest(self, wanted: MessageFilter, limit: int) -> tuple[list[Message], bool]:
        """Return the newest messages that match, oldest first, and whether there may be more."""
        found: list[Message] = []
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            page = await self._broker.list_messages(wanted, size)
            found = page + found
            if len(page) < size:
                return found, False
            wanted = wanted._replace(before=page[0].id)
        return found, True


def _agent_of(message: Message) -> str:
    hive = (names.OPERATOR, names.SYSTEM)
    return message.recipient if message.sender in hive else message.sender
