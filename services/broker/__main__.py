"""hive-broker.service."""

import os
from pathlib import Path

from services import unit
from services.broker import lock
from services.broker.broker import Broker
from services.broker.clock import HostClock
from services.broker.database import FILE, STATE, Database
from services.broker.dead_letters import Letter
from services.broker.deadlines import Deadlines
from services.broker.history import History
from services.broker.interface import Broker1, Rules
from services.broker.keeper import Keeper
from services.broker.lives import Lives
from services.broker.neighbours import LivesOnBus, RequestsOnBus
from services.broker.patience import Patience
from services.broker.questions import Questions
from services.broker.reminders import Reminders
from services.broker.threads import Threads
from services.config import Config
from wire import names
from wire.bus import Bus


class BrokerService(unit.Service):
    """The broker and what it is made of."""

    def __init__(
        self,
        rules: Rules,
        database: Database,
        deadlines: Deadlines,
        neighbour: LivesOnBus,
        held: int,
    ) -> None:
        self._rules = rules
        self._database = database
        self._deadlines = deadlines
        self._neighbour = neighbour
        self._held = held
        self._parked: list[Letter] = []

    async def recover(self) -> None:
        """Take over what an earlier broker has left; before anything can be called."""
        await self._neighbour.start()
        self._parked = await self._rules.broker.recover()

    async def start(self) -> None:
        """Tell what was parked meanwhile, now that the name is ours and listeners know it."""
        for letter in self._parked:
            self._rules.broker.events.parked(letter.id, letter.recipient, letter.redeliveries)
        self._parked = []

    async def run(self) -> None:
        """Let what has a deadline fall due; first what did so meanwhile."""
        await self._deadlines.run()

    def drain(self) -> None:
        """End the calls of Receive that wait, so that a restart takes no grace period."""
        self._rules.broker.stop()

    async def close(self) -> None:
        """Finish writing."""
        await self._neighbour.close()
        await self._rules.broker.close()
        await self._rules.keeper.close()
        await self._database.close()
        os.close(self._held)


async def build(bus: Bus, config: Config) -> unit.Service:
    """The broker on `bus`; its file is in systemd's StateDirectory=."""
    directory = Path(os.environ.get("STATE_DIRECTORY", STATE))
    held = lock.take(directory)
    database = Database.open(directory / FILE, Patience())
    limits = config.broker
    lives = Lives()
    broker = Broker(database, limits, lives)
    deadlines = Deadlines(database, HostClock())
    rules = Rules(
        broker=broker,
        questions=Questions(database, broker, deadlines, max_open=limits.max_open_questions),
        reminders=Reminders(database, broker, deadlines, max_pending=limits.max_pending_reminders),
        threads=Threads(database, broker.leased, RequestsOnBus(bus)),
        history=History(database, broker.leased, lives),
        keeper=Keeper(database, limits.keep_days),
    )
    service = BrokerService(rules, database, deadlines, LivesOnBus(bus, lives), held)
    try:
        await service.recover()
    except BaseException:
        # The thread that writes would keep the process alive.
        await service.close()
        raise
    bus.export(names.BROKER_PATH, Broker1(rules, bus))
    return service


if __name__ == "__main__":
    unit.main("broker", lambda bus: build(bus, Config.load()), bus_name=names.BROKER)
