"""hive-broker.service."""

import os
from pathlib import Path
from typing import Final

from services import unit
from services.broker.allowance import Allowance
from services.broker.broker import Broker
from services.broker.interface import Broker1
from services.broker.store import Store
from services.config import Config
from wire import names
from wire.bus import Bus

STATE: Final = "/var/lib/hyperhive/broker"
FILE: Final = "broker.sqlite"


class BrokerService(unit.Service):
    """The broker and its store."""

    def __init__(self, broker: Broker, store: Store) -> None:
        self._broker = broker
        self._store = store

    def drain(self) -> None:
        """End the calls of Receive that wait, so that a restart takes no grace period."""
        self._broker.stop()

    async def close(self) -> None:
        """Finish writing."""
        await self._broker.close()
        await self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """The broker on `bus`; its file is in systemd's StateDirectory=."""
    store = Store.open(Path(os.environ.get("STATE_DIRECTORY", STATE)) / FILE)
    limits = config.broker
    allowance = Allowance(messages=limits.agent_messages_per_hour, size=limits.agent_bytes_per_hour)
    broker = Broker(store, max_body_bytes=limits.max_body_bytes, allowance=allowance)
    bus.export(names.BROKER_PATH, Broker1(broker, bus))
    return BrokerService(broker, store)


if __name__ == "__main__":
    unit.main("broker", build, bus_name=names.BROKER)
