"""The feed of the ledger: the costs of today."""

from datetime import datetime, timedelta

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records.ledger import CostFilter
from wire.signals import Signal


class LedgerFeed(Feed):
    """The costs of today, by agent. They are few, so each recorded turn makes it ask again."""

    service = "ledger"
    rules = ({"interface": names.LEDGER},)

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._ledger = LedgerClient(bus)

    async def fetch_all(self) -> None:
        """Fetch the costs of today."""
        began, ends = _today()
        costs = await self._ledger.costs(CostFilter(since=began))
        self.state.replace_costs({cost.key: cost.cost for cost in costs}, ends)

    def apply(self, signal: Signal) -> None:
        """Request everything after TurnRecorded."""
        self.request_all()


def _today() -> tuple[int, int]:
    """Return the beginning and the end of today on this host, in microseconds since 1970."""
    began = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    ends = (began.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    return int(began.timestamp() * 1e6), int(ends.timestamp() * 1e6)
