"""org.hyperhive.Broker1: forwards to the rules, and the rules' events to signals."""

import asyncio
from dataclasses import astuple
from typing import Protocol

from services.broker.broker import Broker
from services.broker.inbox import Holder
from services.broker.message import Message
from wire import names
from wire.interface import Interface, caller, method, sender, signal
from wire.principal import AGENTS, EVERYBODY, OPERATOR, service
from wire.types import Dict, Messages, Str, UInt32, UInt64, UInt64List


class Watch(Protocol):
    """What the interface needs of the bus beside being exported."""

    def watch_sender(self, connection: str) -> asyncio.Future[None]:
        """A future that is done when `connection` has left the bus."""


class Broker1(Interface, name=names.BROKER):
    """The broker on the bus."""

    def __init__(self, broker: Broker, bus: Watch) -> None:
        self._broker = broker
        self._bus = bus
        self._holders: dict[str, Holder] = {}
        broker.events = self

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:
        return await self._broker.send(caller(), to, body, options)

    @method(allow=AGENTS | OPERATOR)
    async def Receive(self, max: UInt32, timeout_ms: UInt32) -> Messages:
        return _rows(await self._broker.receive(caller(), self._holder(), max, timeout_ms))

    @method(allow=AGENTS | OPERATOR)
    async def Acknowledge(self, ids: UInt64List) -> None:
        await self._broker.acknowledge(caller(), sender(), ids)

    @method(allow=AGENTS | OPERATOR)
    async def Release(self, ids: UInt64List) -> None:
        await self._broker.release(caller(), sender(), ids)

    @method(allow=AGENTS | OPERATOR)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> Messages:
        return _rows(await self._broker.list_messages(caller(), filter, limit))

    @method(allow=service("lifecycle"))
    async def RegisterAgent(self, name: Str) -> None:
        await self._broker.register_agent(name)

    @method(allow=service("lifecycle"))
    async def UnregisterAgent(self, name: Str) -> None:
        await self._broker.unregister_agent(name)

    @signal()
    def MessageQueued(self, to: Str, id: UInt64, sender: Str, kind: Str) -> None: ...

    @signal()
    def MessageDelivered(self, to: Str, id: UInt64, redeliveries: UInt32) -> None: ...

    @signal()
    def MessageAcknowledged(self, to: Str, id: UInt64) -> None: ...

    def queued(self, message_id: int, sender: str, to: str, kind: str) -> None:
        """See Events."""
        self.MessageQueued(to, message_id, sender, kind)

    def delivered(self, message: Message) -> None:
        """See Events."""
        self.MessageDelivered(message.recipient, message.id, message.redeliveries)

    def acknowledged(self, message_id: int, to: str) -> None:
        """See Events."""
        self.MessageAcknowledged(to, message_id)

    def _holder(self) -> Holder:
        """The caller's connection; one watch each, however often it calls."""
        name = sender()
        if name not in self._holders:
            left = self._bus.watch_sender(name)
            left.add_done_callback(lambda _: self._holders.pop(name, None))
            self._holders[name] = Holder(name, left)
        return self._holders[name]


def _rows(messages: list[Message]) -> list[list[object]]:
    return [list(astuple(message)) for message in messages]
