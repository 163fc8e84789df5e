"""The connection to a hive: one bus, and a client for each service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hivectl.clients.approvals import Approvals
from hivectl.clients.broker import Broker
from hivectl.clients.dashboard import Dashboard
from hivectl.clients.lifecycle import Lifecycle
from hivectl.clients.machined import Machined
from wire.bus import Bus
from wire.errors import Unavailable


class Hive:
    """The operator's connection to a hive."""

    broker: Broker
    lifecycle: Lifecycle
    approvals: Approvals
    dashboard: Dashboard
    machined: Machined

    def __init__(self, bus: Bus) -> None:
        self.broker = Broker(bus)
        self.lifecycle = Lifecycle(bus)
        self.approvals = Approvals(bus)
        self.dashboard = Dashboard(bus)
        self.machined = Machined(bus)

    @classmethod
    @asynccontextmanager
    async def connect(cls) -> AsyncIterator["Hive"]:
        """Connect to the system bus for as long as the context lasts.

        Raises:
            Unavailable: there is no system bus.
        """
        try:
            bus = await Bus.connect()
        except (OSError, Unavailable) as error:
            raise Unavailable(f"The hive cannot be reached: {error}") from error
        try:
            yield cls(bus)
        finally:
            await bus.close()
