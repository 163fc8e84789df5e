"""The ends of messages that the operator sends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records import decode_all
from wire.records.broker import MessageChange, MessageFilter, MessageState
from wire.signals import Signal

ENDS: Final = {
    MessageState.ACKNOWLEDGED: "is acknowledged",
    MessageState.CANCELLED: "was cancelled",
    MessageState.DEAD: "is a dead letter (`hivectl dead-letters` shows why)",
    MessageState.DROPPED: "was dropped",
    MessageState.RETRACTED: "was taken back",
}
"""The states in which a message is delivered no more, in words."""

WITH_TURN: Final = (MessageState.ACKNOWLEDGED, MessageState.CANCELLED)
"""The ends of a message with the turn that has read it."""


@asynccontextmanager
async def watch_ends(bus: Bus, broker: BrokerClient) -> AsyncIterator["MessageEnds"]:
    """Watch how the operator's messages end.

    Enter the context *before* sending: a quick end is missed otherwise.
    """
    ends = MessageEnds(broker)
    signals = await bus.on_signal(
        ends.changed, sender=names.BROKER, interface=names.BROKER, member="MessagesChanged"
    )
    try:
        owner = await bus.on_owner(names.BROKER, came=lambda _owner: ends.missed())
        try:
            yield ends
        finally:
            await owner.close()
    finally:
        await signals.close()


class MessageEnds:
    """The ends of the operator's messages since the watch began."""

    def __init__(self, broker: BrokerClient) -> None:
        self._broker = broker
        self._ended: dict[int, MessageState] = {}
        self._missed = False
        self._news = asyncio.Event()

    def changed(self, signal: Signal) -> None:
        """Note the changes of a signal."""
        [rows] = signal.args
        for change in decode_all(MessageChange, rows):
            if change.sender == names.OPERATOR and change.state in ENDS:
                self._ended[change.id] = change.state
                self._news.set()

    def missed(self) -> None:
        """Note that signals were missed: a broker has started."""
        self._missed = True
        self._news.set()

    async def end_of(self, number: int) -> MessageState:
        """Return the last state of the message `number`, one of ENDS, as soon as it has it."""
        while number not in self._ended:
            await self._news.wait()
            self._news.clear()
            if self._missed:
                self._missed = False
                await self._look(number)
        return self._ended[number]

    async def _look(self, number: int) -> None:
        wanted = MessageFilter(after=number - 1, before=number + 1)
        for message in await self._broker.list_messages(wanted, 1):
            if message.state in ENDS:
                self._ended[number] = message.state
