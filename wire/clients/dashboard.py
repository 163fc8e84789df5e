"""The dashboard as its callers see it."""

from wire import names
from wire.clients.client import Client, remote
from wire.types import Str


class DashboardClient(Client, interface=names.DASHBOARD, path=names.DASHBOARD_PATH):
    """org.hyperhive.Dashboard1."""

    @remote("LoginLink")
    async def login_link(self) -> Str:
        """Return the address of the page with a new one-time token."""
