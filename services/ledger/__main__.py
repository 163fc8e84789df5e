"""The composition root of hive-ledger.service."""

from services import unit
from services.config import Config
from services.directories import state_directory
from services.ledger.interface import Ledger1
from services.ledger.ledger import Ledger
from services.ledger.store import Store
from wire import names
from wire.bus import Bus


class LedgerService(unit.Service):
    """The running service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def close(self) -> None:
        """Close the store."""
        self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        CorruptStore: the store cannot be used.
    """
    store = Store(state_directory("ledger") / "ledger.sqlite")
    bus.export(names.LEDGER_PATH, Ledger1(Ledger(store, config.ledger)))
    return LedgerService(store)


if __name__ == "__main__":
    unit.main("ledger", lambda bus: build(bus, Config.load()), bus_name=names.LEDGER)
