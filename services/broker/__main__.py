"""The composition root of hive-broker.service."""

import os
import time
from collections.abc import Callable

from services import unit
from services.broker.clients import BusPendingRequests, LifecycleWatcher
from services.broker.deadlines.clock import Clock, HostClock
from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.holds.guard import LoopGuard
from services.broker.holds.holds import Holds
from services.broker.holds.loops import Loops
from services.broker.interface import Broker1
from services.broker.limits.limits import Limits
from services.broker.maintenance.maintenance import Maintenance
from services.broker.messages.broker import Broker
from services.broker.messages.dead_letters import DeadLetters
from services.broker.messages.inboxes import Inboxes
from services.broker.messages.invocations import Invocations
from services.broker.messages.queue import Bounds
from services.broker.messages.store import MessageStore
from services.broker.parts import Parts
from services.broker.queries.history import History
from services.broker.queries.message_counts import MessageCounts
from services.broker.queries.open_threads import OpenThreads, PendingRequests
from services.broker.questions.questions import Questions
from services.broker.reminders.reminders import Reminders
from services.broker.startup_timeout import StartupTimeout
from services.broker.storage import lock
from services.broker.storage.database import FILE, Database
from services.broker.writes import Writes
from services.config import BrokerConfig, Config
from services.directories import state_directory
from wire import names
from wire.bus import Bus
from wire.records.broker import MessageChange


class BrokerService(unit.Service):
    """The running service."""

    def __init__(
        self, parts: Parts, interface: Broker1, lifecycle: LifecycleWatcher, lock_file: int
    ) -> None:
        self._parts = parts
        self._interface = interface
        self._lifecycle = lifecycle
        self._lock_file = lock_file
        self._parked: list[MessageChange] = []

    async def recover(self) -> None:
        """Take over the store from an earlier broker, before anything can be called."""
        await self._lifecycle.start()
        self._parked = await self._parts.broker.recover()

    async def start(self) -> None:
        """Announce the messages that `recover` parked, now that listeners can know the name."""
        self._parts.announcer.announce(self._parked)
        self._parked = []

    async def run(self) -> None:
        """Let deadlines expire, beginning with those that passed while no broker ran."""
        await self._parts.deadlines.run()

    def drain(self) -> None:
        """End the waiting calls of Receive, so that a restart takes no grace period."""
        self._parts.inboxes.stop()

    async def close(self) -> None:
        """Finish writing, and give the store up."""
        await self._lifecycle.close()
        await self._parts.close()
        self._interface.close()
        os.close(self._lock_file)


def compose(
    database: Database,
    config: BrokerConfig,
    invocations: Invocations,
    requests: PendingRequests,
    clock: Clock,
    seconds: Callable[[], float] = time.monotonic,
) -> Parts:
    """Put the parts of a broker together, in a running loop.

    Args:
        database: the open store; Parts.close closes it.
        config: the section [broker] of the configuration.
        invocations: the containers that run now.
        requests: the requests that wait for approval.
        clock: for deadlines.
        seconds: a clock for rates.
    """
    announcer, writes = Announcer(), Writes()
    limits = Limits(config, seconds)
    deadlines = Deadlines(database, clock)
    bounds = Bounds.of(config)
    store, dead_letters = MessageStore(database, bounds), DeadLetters(database)
    tries = config.max_redeliveries + 1
    holds = Holds(database, announcer, writes)
    guard = LoopGuard(holds, Loops(config, seconds))
    inboxes = Inboxes(
        store, dead_letters, announcer, writes, invocations, holds.is_held, tries=tries
    )
    broker = Broker(
        store, dead_letters, inboxes, limits, announcer, writes, holds, guard, tries=tries
    )
    return Parts(
        database=database,
        announcer=announcer,
        writes=writes,
        deadlines=deadlines,
        inboxes=inboxes,
        broker=broker,
        holds=holds,
        questions=Questions(
            database,
            deadlines,
            limits,
            announcer,
            writes,
            max_open=config.max_open_questions,
            bounds=bounds,
            guard=guard,
            on_release=holds.released,
        ),
        reminders=Reminders(
            database, deadlines, limits, announcer, writes, max_pending=config.max_pending_reminders
        ),
        threads=OpenThreads(database, inboxes.leased, requests),
        counts=MessageCounts(database, inboxes.leased),
        history=History(database, inboxes.leased, invocations),
        maintenance=Maintenance(database, config.keep_days),
    )


async def build(bus: Bus, config: Config) -> unit.Service:
    """Make the broker on `bus`; its store is in systemd's StateDirectory=."""
    directory = state_directory("broker")
    lock_file = lock.take(directory)
    database = Database.open(directory / FILE, StartupTimeout().extend)
    invocations = Invocations()
    parts = compose(database, config.broker, invocations, BusPendingRequests(bus), HostClock())
    interface = Broker1(parts, bus)
    service = BrokerService(parts, interface, LifecycleWatcher(bus, invocations), lock_file)
    try:
        await service.recover()
    except BaseException:
        # The thread that writes would keep the process alive.
        await service.close()
        raise
    bus.export(names.BROKER_PATH, interface)
    return service


if __name__ == "__main__":
    unit.main("broker", lambda bus: build(bus, Config.load()), bus_name=names.BROKER)
