"""The room put together: store, rules, neighbours, interface."""

import os
from collections.abc import Sequence
from pathlib import Path

from services.approvals.approvals import Approvals
from services.approvals.interface import Approvals1
from services.approvals.neighbours import BrokerOnBus, LifecycleOnBus, listen
from services.approvals.store import Store
from services.config import Config
from services.unit import Service
from wire import names
from wire.bus import Bus
from wire.signals import Subscription

STATE = "/var/lib/hyperhive/approvals"


class ApprovalsService(Service):
    """A running approvals room."""

    def __init__(
        self, approvals: Approvals, store: Store, listening: Sequence[Subscription]
    ) -> None:
        self._approvals = approvals
        self._store = store
        self._listening = listening

    async def run(self) -> None:
        """Carry out what is approved, until the end."""
        await self._approvals.run()

    async def close(self) -> None:
        """Stop listening and close the store. What is not done is picked up by the next start."""
        for subscription in self._listening:
            await subscription.close()
        self._store.close()


async def build(bus: Bus, config: Config) -> ApprovalsService:
    """The room on `bus`, its name not owned yet. Raises CorruptStore."""
    store = Store(Path(os.environ.get("STATE_DIRECTORY", STATE), "approvals.sqlite"))
    approvals = Approvals(
        store, LifecycleOnBus(bus), BrokerOnBus(bus), max_pending=config.approvals.max_pending
    )
    listening = await listen(bus, approvals)
    bus.export(names.APPROVALS_PATH, Approvals1(approvals))
    return ApprovalsService(approvals, store, listening)
