"""The composition root of hive-lifecycle.service."""

import sys
from pathlib import Path

from services import unit
from services.config import Config
from services.directories import state_directory
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.clients import BusBroker
from services.lifecycle.host import version
from services.lifecycle.host.systemd import Systemd
from services.lifecycle.interface import BusObserver
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.store import Store
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


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the service together. It knows its agents before it owns its name."""
    store = Store(state_directory("lifecycle") / "lifecycle.sqlite")
    observer = BusObserver(bus)
    prefix = Path(sys.prefix)
    backend = Nspawn(Systemd(bus), config, prefix)
    lifecycle = Lifecycle(
        store, backend, BusBroker(bus), observer, config.lifecycle, version.current(prefix)
    )
    observer.attach(lifecycle)
    await bus.on_owner(names.BROKER, came=lambda _owner: lifecycle.broker_appeared())
    await lifecycle.start()
    return LifecycleService(lifecycle, store)


if __name__ == "__main__":
    unit.main("lifecycle", lambda bus: build(bus, Config.load()), bus_name=names.LIFECYCLE)
