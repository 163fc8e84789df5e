"""The tombstones: destroyed agents whose data is kept."""

from services.lifecycle.agents.record import Phase
from services.lifecycle.backends.backend import Backend
from services.lifecycle.store import Store
from wire.records.lifecycle import Tombstone


class Tombstones:
    """The destroyed agents in the store."""

    def __init__(self, store: Store, backend: Backend) -> None:
        self._store = store
        self._backend = backend

    async def all(self) -> list[Tombstone]:
        """Return the tombstones of destroyed agents, ordered by name."""
        kept = [r for r in self._store.records() if r.phase is Phase.KEPT]
        return [Tombstone(r.name, await self._backend.size(r.name), r.destroyed) for r in kept]
