"""The composition root of hive-lifecycle.service."""

import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from systemd import daemon

from services import unit
from services.config import Config
from services.directories import state_directory
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.clients import BusBroker
from services.lifecycle.host import version
from services.lifecycle.host.addresses import HostAddresses
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


def inherited_socket() -> socket.socket | None:
    """Return the socket of hive-lifecycle.socket, if systemd passed it. Call this once."""
    fds: Mapping[int, str] = daemon.listen_fds_with_names()
    found = [number for number, name in fds.items() if name == "addresses"]
    return socket.socket(fileno=found[0]) if found else None


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the service together. It knows its agents before it owns its name."""
    store = Store(state_directory("lifecycle") / "lifecycle.sqlite")
    observer = BusObserver(bus)
    prefix = Path(sys.prefix)
    backend = Nspawn(Systemd(bus), config, prefix, addresses=HostAddresses(inherited_socket()))
    lifecycle = Lifecycle(
        store, backend, BusBroker(bus), observer, config.lifecycle, version.current(prefix)
    )
    observer.attach(lifecycle)
    await bus.on_owner(names.BROKER, came=lambda _owner: lifecycle.broker_appeared())
    await lifecycle.start()
    return LifecycleService(lifecycle, store)


if __name__ == "__main__":
    unit.main("lifecycle", lambda bus: build(bus, Config.load()), bus_name=names.LIFECYCLE)
