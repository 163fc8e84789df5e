"""The feed of the ledger: the costs of today, budgets, limits of providers, and refused hosts."""

from datetime import datetime, timedelta

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.clients.ledger import LedgerClient
from wire.records import decode
from wire.records.ledger import (
    Budget,
    CostFilter,
    Egress,
    EgressFilter,
    EgressState,
    Request,
    TurnRecorded,
)
from wire.signals import Signal

MAX_LISTED = 1000
"""The most hosts that the ledger lists at once."""


class LedgerFeed(Feed):
    """Costs, budgets, limits of providers and refused hosts.

    Each request adds to the costs of today. They are few, so each recorded turn makes it ask for
    them again: a request whose gateway died may have been corrected.
    """

    service = "ledger"
    rules = ({"interface": names.LEDGER},)

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._ledger = LedgerClient(bus)

    async def fetch_all(self) -> None:
        """Fetch the costs of today, the budgets, and the hosts that wait for the operator."""
        await self.fetch_changes()
        self.state.replace_budgets(await self._ledger.list_budgets())
        refused = EgressFilter(state=EgressState.PENDING)
        self.state.replace_egress(await self._ledger.list_egress(refused, MAX_LISTED))

    async def fetch_changes(self) -> None:
        """Fetch the costs of today, and the limits that the answers of these requests told."""
        began, ends = _today()
        costs = await self._ledger.costs(CostFilter(since=began))
        self.state.replace_costs({cost.key: cost.cost for cost in costs}, ends)
        self.state.replace_limits(await self._ledger.list_limits())

    def apply(self, signal: Signal) -> None:
        """Turns and requests are counted, budgets and hosts change."""
        match signal.member, signal.args:
            case "TurnRecorded", values:
                self.state.add_turn(decode(TurnRecorded, values).agent)
                self.request_changes()
            case "RequestSettled", [dict(request)]:
                if not self.state.add_request(decode(Request, request)):
                    self.request_changes()
            case "ProviderLimitChanged", _:
                self.request_changes()
            case "BudgetChanged", [dict(budget)]:
                self.state.put_budget(decode(Budget, budget))
            case "EgressChanged", [dict(entry)]:
                if not self.state.put_egress(decode(Egress, entry)):
                    self.request_all()


def _today() -> tuple[int, int]:
    """Return the beginning and the end of today on this host, in microseconds since 1970."""
    began = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    ends = (began.replace(tzinfo=None) + timedelta(days=1)).astimezone()
    return int(began.timestamp() * 1e6), int(ends.timestamp() * 1e6)
