"""The operator's inbox."""

import asyncio

from hivectl.clients.changes import changes
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records.broker import Message, MessageFilter, MessageState

MAX_LISTED = 1000
"""The most records that the broker lists at once."""


class Inbox:
    """The messages to the operator."""

    def __init__(self, bus: Bus, broker: BrokerClient) -> None:
        self._bus = bus
        self._broker = broker

    async def messages(self, *, everything: bool = False) -> list[Message]:
        """Return the unacknowledged messages to the operator, or all if `everything`."""
        state = None if everything else MessageState.QUEUED
        wanted = MessageFilter(recipient=names.OPERATOR, state=state)
        return await self._broker.list_messages(wanted, MAX_LISTED)

    async def wait(self, seconds: float) -> list[Message]:
        """Return the inbox as soon as it has a message, or empty after `seconds` without one."""
        # Subscribe first: a message that is queued between look and wait sets the event.
        async with changes(self._bus, "OperatorMessageQueued") as changed:
            try:
                async with asyncio.timeout(seconds):
                    while not (messages := await self.messages()):
                        await changed.wait()
                        changed.clear()
                    return messages
            except TimeoutError:
                return []
