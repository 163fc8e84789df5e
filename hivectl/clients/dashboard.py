"""A client of the dashboard over the system bus."""

from wire import names
from wire.bus import Bus


class Dashboard:
    """The service that serves the operator's page."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def login_link(self) -> str:
        """Return a new address that logs its reader in to the dashboard, once."""
        return str(
            await self._bus.call1(
                names.DASHBOARD, names.DASHBOARD_PATH, names.DASHBOARD, "LoginLink"
            )
        )
