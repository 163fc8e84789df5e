"""The ledger as its callers see it; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.ledger import Cost, CostFilter, Turn, TurnFilter
from wire.types import UInt32, UInt64


class LedgerClient(Client, interface=names.LEDGER, path=names.LEDGER_PATH):
    """org.hyperhive.Ledger1."""

    @remote("RecordTurn")
    async def record_turn(self, turn: Turn) -> None:
        """Record a turn of the caller; a turn that is recorded already stays as it is."""

    @remote("ListTurns")
    async def list_turns(self, filter: TurnFilter, limit: UInt32) -> list[Turn]:
        """Return the turns that match and were recorded last, newest first."""

    @remote("Costs")
    async def costs(self, filter: CostFilter) -> list[Cost]:
        """Return the sums of the turns that match, by day, model or agent."""

    @remote("Vacuum")
    async def vacuum(self) -> UInt64:
        """Delete old turns and return how many."""
