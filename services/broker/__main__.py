"""hive-broker.service."""

import os
from pathlib import Path
from typing import Final

from services import unit
from services.broker.allowance import Allowance
from services.broker.broker import Broker
from services.broker.database import Database
from services.broker.history import History
from services.broker.interface import Broker1, Rules
from services.broker.keeper import Keeper
from services.broker.questions import Questions
from services.broker.reminders import Reminders
from services.broker.store import Store
from services.broker.threads import Threads
from services.config import Config
from wire import names
from wire.bus import Bus

STATE: Final = "/var/lib/hyperhive/broker"
FILE: Final = "broker.sqlite"


class BrokerService(unit.Service):
    """The broker and its database."""

    def __init__(self, broker: Broker, database: Database) -> None:
        self._broker = broker
        self._database = database

    def drain(self) -> None:
        """End the calls of Receive that wait, so that a restart takes no grace period."""
        self._broker.stop()

    async def close(self) -> None:
        """Finish writing."""
        await self._broker.close()
        await self._database.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """The broker on `bus`; its file is in systemd's StateDirectory=."""
    database = Database.open(Path(os.environ.get("STATE_DIRECTORY", STATE)) / FILE)
    limits = config.broker
    allowance = Allowance(messages=limits.agent_messages_per_hour, size=limits.agent_bytes_per_hour)
    broker = Broker(Store(database), max_body_bytes=limits.max_body_bytes, allowance=allowance)
    rules = Rules(
        broker=broker,
        questions=Questions(database, broker),
        reminders=Reminders(database, broker),
        threads=Threads(database),
        history=History(database, broker.leased),
        keeper=Keeper(database, limits.keep_days),
    )
    bus.export(names.BROKER_PATH, Broker1(rules, bus))
    return BrokerService(broker, database)


if __name__ == "__main__":
    unit.main("broker", lambda bus: build(bus, Config.load()), bus_name=names.BROKER)
