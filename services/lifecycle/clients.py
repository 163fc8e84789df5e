"""The broker over the bus, as lifecycle uses it."""

from collections.abc import Callable

from services.lifecycle.notices.notice import Notice
from wire import names
from wire.bus import Bus
from wire.clients import BrokerClient
from wire.errors import NotFound
from wire.records.broker import SendOptions
from wire.signals import Subscription


class BusBroker:
    """The broker, for lifecycle. A call starts the broker when it does not run."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = BrokerClient(bus)
        self._listening: dict[str, Subscription] = {}

    async def register(self, name: str) -> None:
        """Create the inbox of `name`."""
        await self._client.register_agent(name)

    async def unregister(self, name: str) -> None:
        """Remove the inbox of `name`. A missing inbox is not an error."""
        try:
            await self._client.unregister_agent(name)
        except NotFound:
            return

    async def send(self, notice: Notice) -> None:
        """Hand one message over; the dedupe key makes a repetition harmless."""
        options = SendOptions(kind=notice.kind, dedupe_key=notice.dedupe_key)
        await self._client.send(notice.recipient, notice.body, options)

    async def waiting(self) -> set[str]:
        """Return the agents that have queued or leased messages."""
        return set(await self._client.list_waiting())

    async def listen(self, name: str, told: Callable[[], None]) -> None:
        """Call `told` for each message to `name`; the bus filters the signals."""
        if name not in self._listening:
            self._listening[name] = await self._bus.on_signal(
                lambda _signal: told(),
                sender=names.BROKER,
                path=names.BROKER_PATH,
                interface=names.BROKER,
                member="MessageQueued",
                arg0=name,
            )

    async def ignore(self, name: str) -> None:
        """Undo `listen`."""
        if subscription := self._listening.pop(name, None):
            await subscription.close()
