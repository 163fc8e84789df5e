"""The dashboard as its callers see it."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.dashboard import PushTarget, Role, Session
from wire.types import Str, UInt64


class DashboardClient(Client, interface=names.DASHBOARD, path=names.DASHBOARD_PATH):
    """org.hyperhive.Dashboard1."""

    @remote("LoginLink")
    async def login_link(self, role: Role) -> Str:
        """Return the address of the page with a new one-time token for a role."""

    @remote("ListSessions")
    async def list_sessions(self) -> list[Session]:
        """Return the logins of browsers that have not ended, the last used first."""

    @remote("RevokeSession")
    async def revoke_session(self, id: UInt64) -> None:
        """End a login.

        Raises:
            NotFound: it has ended, or never was.
        """

    @remote("PushKey")
    async def push_key(self) -> Str:
        """Return the private key that signs requests to push services; empty: not made yet."""

    @remote("ListPushTargets")
    async def list_push_targets(self) -> list[PushTarget]:
        """Return the browsers that want notifications although no page is open."""

    @remote("ForgetPushTarget")
    async def forget_push_target(self, id: UInt64) -> None:
        """Forget a browser that its push service does not know any more."""
