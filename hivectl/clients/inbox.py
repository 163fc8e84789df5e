"""The operator's inbox."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from hivectl.clients import new_messages
from hivectl.clients.new_messages import MAX_LISTED
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records.broker import Message, MessageFilter, MessageState


class Inbox:
    """The messages to the operator."""

    def __init__(self, bus: Bus, broker: BrokerClient) -> None:
        self._bus = bus
        self._broker = broker

    async def messages(
        self, *, everything: bool = False, sender: str | None = None, after: int | None = None
    ) -> list[Message]:
        """Return the messages to the operator, oldest first.

        Args:
            everything: return the newest 1000 messages; otherwise all that are not acknowledged,
                however many there are: those of one sender must not hide the others.
            sender: only messages from this sender.
            after: only messages after the one with this number.
        """
        wanted = MessageFilter(recipient=names.OPERATOR, sender=sender, after=after or None)
        if everything:
            return await self._broker.list_messages(wanted, MAX_LISTED)
        return await new_messages.listed(self._broker, wanted._replace(state=MessageState.QUEUED))

    async def newest(self) -> int:
        """Return the number of the newest message to the operator; 0 if there is none."""
        wanted = MessageFilter(recipient=names.OPERATOR)
        return await new_messages.newest(self._broker, wanted)

    async def acknowledge(self, numbers: list[int]) -> None:
        """Acknowledge messages to the operator."""
        for first in range(0, len(numbers), MAX_LISTED):
            await self._broker.acknowledge(numbers[first : first + MAX_LISTED])

    async def acknowledge_answer(self, question: int) -> None:
        """Acknowledge the message with the answer to a question of the operator."""
        wanted = MessageFilter(
            recipient=names.OPERATOR,
            sender=names.SYSTEM,
            kind="question-answered",
            state=MessageState.QUEUED,
        )
        begin = f"Your question {question} to "
        for message in await self._broker.list_messages(wanted, MAX_LISTED):
            if message.body.startswith(begin):
                await self.acknowledge([message.id])

    def follow(
        self, sender: str | None = None, after: int | None = None
    ) -> AsyncGenerator[list[Message], None]:
        """Yield the messages to the operator as they come.

        Args:
            sender: only messages from this sender.
            after: the number of the last message that is known; None for those from now on.
        """
        wanted = MessageFilter(recipient=names.OPERATOR, sender=sender, state=MessageState.QUEUED)
        return new_messages.follow(self._bus, self._broker, wanted, "OperatorMessageQueued", after)

    async def wait(
        self, seconds: float, sender: str | None = None, after: int | None = None
    ) -> list[Message]:
        """Return the next messages to the operator; none after `seconds` without one.

        Args:
            seconds: the longest time to wait.
            sender: only messages from this sender.
            after: the number of the last message that is known; None for those from now on.
        """
        try:
            async with asyncio.timeout(seconds), aclosing(self.follow(sender, after)) as coming:
                async for messages in coming:
                    return messages
        except TimeoutError:
            pass
        return []
