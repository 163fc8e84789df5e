"""The broker over the bus, as lifecycle needs it."""

from collections.abc import Callable
from typing import Any

from services.lifecycle.notices.notice import Notice
from wire import names
from wire.bus import Bus
from wire.errors import NotFound
from wire.signals import Signal, Subscription


class BrokerClient:
    """Broker1. A call starts the broker when it is not there."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: dict[str, Subscription] = {}

    async def register(self, name: str) -> None:
        """Give `name` an inbox."""
        await self._call("RegisterAgent", "s", name)

    async def unregister(self, name: str) -> None:
        """Take the inbox of `name` back; one that has none is no error."""
        try:
            await self._call("UnregisterAgent", "s", name)
        except NotFound:
            return

    async def send(self, notice: Notice) -> None:
        """Hand one message over; the dedupe key makes a repetition harmless."""
        options = {"kind": notice.kind, "dedupe_key": notice.dedupe_key}
        await self._call("Send", "ssa{sv}", notice.recipient, notice.body, options)

    async def waiting(self) -> set[str]:
        """Who has messages that are not done."""
        [waiting] = await self._call("ListWaiting")
        return set(waiting)

    async def listen(self, name: str, told: Callable[[], None]) -> None:
        """Call `told` for each message for `name`; only these come over the bus."""
        if name not in self._heard:
            self._heard[name] = await self._bus.on_signal(
                lambda _signal: told(),
                sender=names.BROKER,
                path=names.BROKER_PATH,
                interface=names.BROKER,
                member="MessageQueued",
                arg0=name,
            )

    async def ignore(self, name: str) -> None:
        """Not any more."""
        if heard := self._heard.pop(name, None):
            await heard.close()

    async def _call(self, member: str, signature: str = "", *args: Any) -> list[Any]:
        return await self._bus.call(
            names.BROKER, names.BROKER_PATH, names.BROKER, member, signature, *args
        )


async def on_broker_appeared(bus: Bus, callback: Callable[[], None]) -> None:
    """Call `callback` whenever the broker's name gets an owner, as long as `bus` lives."""

    def changed(signal: Signal) -> None:
        _name, _before, owner = signal.args
        if owner:
            callback()

    await bus.on_signal(
        changed,
        sender="org.freedesktop.DBus",
        interface="org.freedesktop.DBus",
        member="NameOwnerChanged",
        arg0=names.BROKER,
    )
