"""The composition root of hive-lifecycle.service."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from systemd import daemon

from services import metaflake, unit
from services.config import Config, LifecycleConfig
from services.deliverer import Deliverer
from services.directories import state_directory
from services.lifecycle.agents.budgets import Budgets
from services.lifecycle.agents.logs import Logs
from services.lifecycle.agents.registration import Registration
from services.lifecycle.agents.roster import Roster
from services.lifecycle.agents.runtime import Runtime
from services.lifecycle.agents.settings import EffectiveSettings
from services.lifecycle.agents.tombstones import Tombstones
from services.lifecycle.backends.backend import Backend
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.broker import Broker
from services.lifecycle.clients import BusBroker, BusLedger
from services.lifecycle.harnesses import Harnesses
from services.lifecycle.host import version
from services.lifecycle.host.addresses import HostAddresses
from services.lifecycle.host.log_reader import LogReader
from services.lifecycle.host.systemd import Systemd
from services.lifecycle.interface import BusObserver
from services.lifecycle.jobs.orders import Orders
from services.lifecycle.jobs.rolling_update import RollingUpdate
from services.lifecycle.jobs.runner import JobRunner
from services.lifecycle.jobs.steps import Steps
from services.lifecycle.ledger import Ledger
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.notices.notice import Notice
from services.lifecycle.parts import Observer, Parts
from services.lifecycle.store import Store
from services.lifecycle.watch.auto_sleep import AutoSleep
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.filters import Filters
from services.lifecycle.watch.gateway_limits import GatewayLimits
from services.lifecycle.watch.holds import Holds
from services.lifecycle.watch.limit_holds import LimitHolds
from services.lifecycle.watch.monitor import Monitor
from services.lifecycle.watch.provider_limits import ProviderLimits, credential_of
from services.lifecycle.watch.shared_limits import SharedLimits
from services.lifecycle.watch.turns import Turns
from wire import names
from wire.bus import Bus


class LifecycleService(unit.Service):
    """The running service."""

    def __init__(self, lifecycle: Lifecycle, store: Store) -> None:
        self._lifecycle = lifecycle
        self._store = store

    async def close(self) -> None:
        """Let jobs end; containers keep running."""
        await self._lifecycle.stop()
        self._store.close()


def inherited_socket() -> socket.socket | None:
    """Return the socket of hive-lifecycle.socket, if systemd passed it. Call this once."""
    fds: Mapping[int, str] = daemon.listen_fds_with_names()
    found = [number for number, name in fds.items() if name == "addresses"]
    return socket.socket(fileno=found[0]) if found else None


def compose(
    store: Store,
    backend: Backend,
    broker: Broker,
    ledger: Ledger,
    observer: Observer,
    config: LifecycleConfig,
    current: str = "",
) -> Parts:
    """Put the parts together; nothing runs before `Lifecycle.start`.

    Args:
        store: the storage.
        backend: the containers.
        broker: the messages.
        ledger: the budgets, and the limits that gateways have seen.
        observer: is told first of each change.
        config: the section `[lifecycle]` of the configuration.
        current: the version of Hyperhive. Containers of another version are stale.
    """

    def tell(notice: Notice) -> None:
        store.add_notice(notice)
        deliverer.wake()

    # Some parts order jobs, and the steps of jobs need those parts: hence the lambdas.
    roster = Roster(store, backend, observer, current)
    jobs = JobRunner(store, observer)
    settings = EffectiveSettings(roster, backend, jobs, config)
    auto_sleep = AutoSleep(
        roster,
        broker,
        settings.sleeps_after,
        lambda verb, name: orders.order(verb, name),
        jobs.busy,
        # At a limit, or when held, an agent could do nothing about a message.
        lambda name: not provider_limits.until(name),
    )
    holds = Holds(roster, broker, auto_sleep.check_messages)
    registration = Registration(roster, settings, broker, holds)
    deliverer = Deliverer(
        store.notices, store.drop_notice, broker.send, introduce=registration.register_all
    )
    limit_holds = LimitHolds(settings, broker)
    provider_limits = ProviderLimits(
        roster,
        store,
        lambda name, verb, value: harnesses.tell(name, verb, value),
        lambda agent: credential_of(
            agent, backend.shared_credential(), own_key=backend.has_own_credential(agent.name)
        ),
        tell,
        auto_sleep.check_messages,
        limit_holds.hold,
    )
    gateway_limits = GatewayLimits(ledger, provider_limits)
    harnesses = Harnesses(roster, provider_limits, tell)
    rolling_update = RollingUpdate(
        roster, lambda name: orders.update_at_rest(name), jobs.busy, tell
    )
    disk = DiskWatch(
        roster,
        backend,
        lambda verb, name: orders.order(verb, name),
        jobs.busy,
        lambda name: orders.hurry_deploy(name),
        tell,
        SharedLimits(backend.shortages, tell).check,
    )
    turns = Turns(broker)
    monitor = Monitor(roster, backend, jobs.busy, deliverer.wake)
    budgets = Budgets(roster, backend, ledger)
    steps = Steps(
        *(roster, backend, broker, monitor, deliverer, auto_sleep, disk, turns, budgets),
        harnesses,
    )
    orders = Orders(roster, jobs, steps)
    roster.watchers = (
        auto_sleep.agent_changed,
        rolling_update.agent_changed,
        disk.agent_changed,
        turns.agent_changed,
    )
    jobs.watchers = (
        roster.job_ended,
        harnesses.job_ended,
        auto_sleep.job_ended,
        disk.job_ended,
        rolling_update.job_ended,
    )
    return Parts(
        roster=roster,
        jobs=jobs,
        orders=orders,
        settings=settings,
        runtime=Runtime(roster, backend, monitor, disk),
        harnesses=harnesses,
        tombstones=Tombstones(store, backend),
        logs=Logs(roster, backend, LogReader()),
        provider_limits=provider_limits,
        gateway_limits=gateway_limits,
        limit_holds=limit_holds,
        holds=holds,
        auto_sleep=auto_sleep,
        rolling_update=rolling_update,
        filters=Filters(roster, backend),
        budgets=budgets,
        disk=disk,
        monitor=monitor,
        deliverer=deliverer,
    )


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the service together. It knows its agents before it owns its name."""
    store = Store(state_directory("lifecycle") / "lifecycle.sqlite")
    observer = BusObserver(bus)
    prefix = Path(sys.prefix)
    backend = Nspawn(Systemd(bus), config, prefix, addresses=HostAddresses(inherited_socket()))
    current = version.current(prefix)
    if config.lifecycle.backend == "nixos":
        # The systems of agents have more inputs: nixpkgs may change alone.
        current += f".{metaflake.stamp(config.nixos)[:12]}"
    broker, ledger = BusBroker(bus), BusLedger(bus)
    parts = compose(store, backend, broker, ledger, observer, config.lifecycle, current)
    observer.attach(parts)
    lifecycle = Lifecycle(parts, store, backend, config.lifecycle, current)

    def ledger_appeared() -> None:
        parts.budgets.ledger_appeared()
        parts.gateway_limits.ledger_appeared()

    await bus.on_owner(names.BROKER, came=lambda _owner: lifecycle.broker_appeared())
    await bus.on_owner(names.LEDGER, came=lambda _owner: ledger_appeared())
    await ledger.follow_limits(parts.gateway_limits.changed)
    await lifecycle.start()
    parts.gateway_limits.ledger_appeared()
    return LifecycleService(lifecycle, store)


if __name__ == "__main__":
    unit.main("lifecycle", lambda bus: build(bus, Config.load()), bus_name=names.LIFECYCLE)
