"""The hosts that agents have reached through their gateways, or were refused."""

import time
from typing import Final

from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.rows import egress_row
from services.dashboard.state.tables import Json
from wire.clients.ledger import LedgerClient
from wire.records.ledger import EgressFilter, EgressState

MAX_HOSTS: Final = 1000
"""The most hosts that the ledger lists at once."""


class EgressHosts:
    """The hosts of all agents. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._ledger = LedgerClient(caller)

    async def hosts(
        self, agent: str | None, state: EgressState | None, hours: int | None
    ) -> list[Json]:
        """Return the hosts, the last used one first, at most MAX_HOSTS.

        Args:
            agent: only those of this agent.
            state: only those in this state.
            hours: only those that were used in the last hours.
        """
        since = None if hours is None else int((time.time() - hours * 3600) * 1e6)
        wanted = EgressFilter(agent=agent, state=state, since=since)
        return [egress_row(entry) for entry in await self._ledger.list_egress(wanted, MAX_HOSTS)]
