"""The room put together: store, git, rules, neighbours, interface."""

import os
from collections.abc import Sequence
from pathlib import Path

from services.approvals.approvals import Approvals
from services.approvals.books import Books
from services.approvals.carrier import Carrier
from services.approvals.interface import Approvals1
from services.approvals.ledger import Ledger
from services.approvals.meta import Meta
from services.approvals.neighbours import BrokerOnBus, LifecycleOnBus, listen
from services.approvals.repositories import Repositories
from services.approvals.store import Store
from services.approvals.teller import Teller
from services.config import Config
from services.unit import Service
from wire import names
from wire.bus import Bus
from wire.signals import Subscription

STATE = "/var/lib/hyperhive/approvals"


class ApprovalsService(Service):
    """A running approvals room."""

    def __init__(self, carrier: Carrier, store: Store, listening: Sequence[Subscription]) -> None:
        self._carrier = carrier
        self._store = store
        self._listening = listening

    async def run(self) -> None:
        """Carry out what is approved, until the end."""
        await self._carrier.run()

    async def close(self) -> None:
        """Stop listening and close the store. What is not done is picked up by the next start."""
        for subscription in self._listening:
            await subscription.close()
        self._store.close()


async def build(bus: Bus, config: Config) -> ApprovalsService:
    """The room on `bus`, its name not owned yet. Raises CorruptStore, Unavailable."""
    state = Path(os.environ.get("STATE_DIRECTORY", STATE))
    git = state.with_name("git")
    store = Store(state / "approvals.sqlite")
    settings = config.approvals
    ledger = Ledger(
        store, max_pending=settings.max_pending, requests_per_hour=settings.requests_per_hour
    )
    repositories, meta = Repositories(git), Meta(git)
    await repositories.prepare()
    await meta.recover()
    store.mark_anew()
    books = Books(ledger, repositories, meta)
    lifecycle = LifecycleOnBus(bus)
    carrier = Carrier(ledger, books, lifecycle, Teller(ledger, BrokerOnBus(bus)))
    listening = await listen(bus, carrier)
    approvals = Approvals(ledger, books, lifecycle, carrier)
    bus.export(names.APPROVALS_PATH, Approvals1(approvals, ledger))
    return ApprovalsService(carrier, store, listening)
