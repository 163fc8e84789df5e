"""The operator's inbox."""

import asyncio

from hivectl.clients.changes import changes
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records.broker import Message, MessageFilter, MessageState

MAX_LISTED = 1000
"""The most records that the broker lists, and the most that it acknowledges, at once."""


class Inbox:
    """The messages to the operator."""

    def __init__(self, bus: Bus, broker: BrokerClient) -> None:
        self._bus = bus
        self._broker = broker

    async def messages(
        self, *, everything: bool = False, sender: str | None = None
    ) -> list[Message]:
        """Return the messages to the operator, oldest first.

        Args:
            everything: return the newest 1000 messages; otherwise all that are not acknowledged,
                however many there are: those of one sender must not hide the others.
            sender: only messages from this sender.
        """
        wanted = MessageFilter(recipient=names.OPERATOR, sender=sender)
        if everything:
            return await self._broker.list_messages(wanted, MAX_LISTED)
        wanted = wanted._replace(state=MessageState.QUEUED)
        found: list[Message] = []
        while page := await self._broker.list_messages(wanted, MAX_LISTED):
            found = page + found
            wanted = wanted._replace(before=found[0].id)
        return found

    async def acknowledge(self, numbers: list[int]) -> None:
        """Acknowledge messages to the operator."""
        for first in range(0, len(numbers), MAX_LISTED):
            await self._broker.acknowledge(numbers[first : first + MAX_LISTED])

    async def wait(self, seconds: float, sender: str | None = None) -> list[Message]:
        """Return the inbox as soon as it has a message, or empty after `seconds` without one.

        Args:
            seconds: the longest time to wait.
            sender: only messages from this sender.
        """
        # Subscribe first: a message that is queued between look and wait sets the event.
        async with changes(self._bus, "OperatorMessageQueued") as changed:
            try:
                async with asyncio.timeout(seconds):
                    while not (messages := await self.messages(sender=sender)):
                        await changed.wait()
                        changed.clear()
                    return messages
            except TimeoutError:
                return []
