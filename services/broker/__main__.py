"""hive-broker.service."""

import os
from pathlib import Path

from services import unit
from services.broker.clients import ApprovalsClient, LifecycleWatcher
from services.broker.deadlines.clock import HostClock
from services.broker.deadlines.deadlines import Deadlines
from services.broker.interface import Broker1, Rules
from services.broker.maintenance.maintenance import Maintenance
from services.broker.messages.broker import Broker
from services.broker.messages.dead_letters import DeadLetter
from services.broker.messages.invocations import Invocations
from services.broker.queries.history import History
from services.broker.queries.open_threads import OpenThreads
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.startup_timeout import StartupTimeout
from services.broker.storage import lock
from services.broker.storage.database import FILE, STATE, Database
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
        lifecycle: LifecycleWatcher,
        held: int,
    ) -> None:
        self._rules = rules
        self._database = database
        self._deadlines = deadlines
        self._lifecycle = lifecycle
        self._held = held
        self._parked: list[DeadLetter] = []

    async def recover(self) -> None:
        """Take over what an earlier broker has left; before anything can be called."""
        await self._lifecycle.start()
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
        await self._lifecycle.close()
        await self._rules.broker.close()
        await self._rules.maintenance.close()
        await self._database.close()
        os.close(self._held)


async def build(bus: Bus, config: Config) -> unit.Service:
    """The broker on `bus`; its file is in systemd's StateDirectory=."""
    directory = Path(os.environ.get("STATE_DIRECTORY", STATE))
    held = lock.take(directory)
    database = Database.open(directory / FILE, StartupTimeout().extend)
    limits = config.broker
    invocations = Invocations()
    broker = Broker(database, limits, invocations)
    deadlines = Deadlines(database, HostClock())
    rules = Rules(
        broker=broker,
        questions=Questions(database, broker, deadlines, max_open=limits.max_open_questions),
        reminders=Reminders(database, broker, deadlines, max_pending=limits.max_pending_reminders),
        threads=OpenThreads(database, broker.leased, ApprovalsClient(bus)),
        history=History(database, broker.leased, invocations),
        maintenance=Maintenance(database, limits.keep_days),
    )
    service = BrokerService(rules, database, deadlines, LifecycleWatcher(bus, invocations), held)
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
