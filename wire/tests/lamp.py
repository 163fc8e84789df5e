"""A small object for the tests of the bus."""

import asyncio
from typing import Annotated, Any

from dbus_next.aio import MessageBus

from wire import errors
from wire.interface import Interface, caller, method, prop, sender, signal
from wire.principal import AGENTS, EVERYBODY, OPERATOR
from wire.types import Dict, Signature, Str, UInt32, UInt64

NAME = "org.hyperhive.Lamp1"
PATH = "/org/hyperhive/lamp"
SECRET = "a secret of the service"


class Lamp1(Interface, name=NAME):
    """An interface with one member of each kind."""

    def __init__(self) -> None:
        self.state = "off"
        self.broken_getter = False
        self.waiting = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.go_on = asyncio.Event()
        self.told: list[int] = []

    @method(allow=OPERATOR)
    async def Dim(self, level: UInt32, options: Dict) -> UInt64:
        self.state = f"{level} {options}"
        self.emit_changed("State")
        return level * 2

    @method(allow=EVERYBODY)
    async def Tell(self, number: UInt32) -> None:
        self.told.append(number)

    @method(allow=EVERYBODY)
    async def Echo(self, text: Str) -> Str:
        return text

    @method(allow=AGENTS)
    async def WhoAmI(self) -> Annotated[list[Any], Signature("ss")]:
        await self.go_on.wait()
        return [caller().voice, sender()]

    @method(allow=EVERYBODY)
    async def Fail(self, what: Str) -> None:
        raise getattr(errors, what)("told so")

    @method(allow=EVERYBODY)
    async def Crash(self) -> None:
        raise RuntimeError(SECRET)

    @method(allow=EVERYBODY)
    async def BeCancelled(self) -> None:
        raise asyncio.CancelledError

    @method(allow=EVERYBODY)
    async def Wait(self) -> Str:
        self.waiting.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return "done"

    @method(allow=EVERYBODY)
    async def Wrong(self) -> UInt32:
        return "no number"  # type: ignore[return-value]

    @method(allow=EVERYBODY)
    async def Tuples(self) -> Annotated[Any, Signature("a(su)as")]:
        return ([("a", 1), ("b", 2)], ("c", "d"))

    @prop()
    def State(self) -> Str:
        if self.broken_getter:
            raise RuntimeError(SECRET)
        return self.state

    @prop()
    def Reader(self) -> Str:
        return f"{caller()} {sender()}"

    @prop(const=True)
    def name(self) -> Str:
        return "lamp"

    @signal()
    def Broken(self, reason: Str, level: UInt32) -> None: ...


def hang_up(bus: MessageBus) -> None:
    """Close a connection of dbus-next and its socket, for which dbus-next has no method."""
    bus.disconnect()
    bus._stream.close()
    bus._sock.close()
