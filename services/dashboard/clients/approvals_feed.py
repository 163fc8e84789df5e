"""The feed of approvals: the queue of requests."""

from wire import names
from wire.signals import Signal

from .feed import Feed


class ApprovalsFeed(Feed):
    """Requests. The queue is short, so each signal makes the feed ask for all of it."""

    service = "approvals"
    rules = ({"interface": names.APPROVALS},)

    async def fetch_all(self) -> None:
        """Fetch all requests."""
        self.state.replace_approvals(
            await self.bus.call1(self.name, self.path, self.name, "List", "a{sv}", {})
        )

    def apply(self, signal: Signal) -> None:
        """Request everything after ApprovalAdded and ApprovalResolved."""
        self.request_all()
