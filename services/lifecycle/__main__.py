"""Composition root of hive-lifecycle.service."""

import os
import sys
from pathlib import Path

from services import unit
from services.config import Config
from services.lifecycle import version
from services.lifecycle.backends.nspawn import Nspawn
from services.lifecycle.backends.systemd import Systemd
from services.lifecycle.interface import OnBus
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.neighbours import BrokerOnBus, on_broker_appeared
from services.lifecycle.registry import Registry
from wire import names
from wire.bus import Bus

STATE = Path(os.environ.get("STATE_DIRECTORY", "/var/lib/hyperhive/lifecycle"))


class LifecycleService(unit.Service):
    """The running service."""

    def __init__(self, lifecycle: Lifecycle, registry: Registry) -> None:
        self._lifecycle = lifecycle
        self._registry = registry

    async def close(self) -> None:
        """Let jobs end; containers run on."""
        await self._lifecycle.stop()
        self._registry.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together. It knows its agents before it owns its name."""
    registry = Registry(STATE / "lifecycle.sqlite")
    observer = OnBus(bus)
    prefix = Path(sys.prefix)
    backend = Nspawn(Systemd(bus), config, prefix)
    lifecycle = Lifecycle(
        registry, backend, BrokerOnBus(bus), observer, config.lifecycle, version.current(prefix)
    )
    observer.attach(lifecycle)
    await on_broker_appeared(bus, lifecycle.broker_appeared)
    await lifecycle.start()
    return LifecycleService(lifecycle, registry)


if __name__ == "__main__":
    unit.main("lifecycle", lambda bus: build(bus, Config.load()), bus_name=names.LIFECYCLE)
