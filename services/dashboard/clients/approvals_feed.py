"""The feed of approvals: the queue of requests."""

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import PageState
from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.records.approvals import ApprovalFilter
from wire.signals import Signal


class ApprovalsFeed(Feed):
    """Requests. The queue is short, so each signal makes the feed ask for all of it."""

    service = "approvals"
    rules = ({"interface": names.APPROVALS},)

    def __init__(self, bus: Bus, state: PageState) -> None:
        super().__init__(bus, state)
        self._approvals = ApprovalsClient(bus)

    async def fetch_all(self) -> None:
        """Fetch all requests."""
        self.state.replace_approvals(await self._approvals.list_approvals(ApprovalFilter()))

    def apply(self, signal: Signal) -> None:
        """Request everything after ApprovalAdded and ApprovalResolved."""
        self.request_all()
