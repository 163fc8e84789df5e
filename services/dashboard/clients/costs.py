"""The costs of the hive, as the ledger sums them up: by day, agent, model and credential."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.rows import request_row, usage_row
from services.dashboard.state.tables import Json, Row
from wire.clients.ledger import LedgerClient
from wire.records.ledger import UsageFilter, UsageKey, UsageSum, UsageSumFilter

MAX_DAYS: Final = 90
"""The days that the ledger keeps."""

STACKED: Final = 6
"""The agents that cost most: they get sums of their own for each day."""

REQUESTS: Final = 50
"""The requests of one page."""


class Costs:
    """The costs. Each method raises a HiveError whose text says what to do."""

    def __init__(self, caller: ExplainingCaller) -> None:
        self._ledger = LedgerClient(caller)

    async def sums(self, days: int, agent: str | None, credential: str | None) -> Row:
        """Return the sums of the last days, by each key.

        Args:
            days: the number of days, with today.
            agent: only those of this agent.
            credential: only those of this credential.
        """
        wanted = UsageSumFilter(agent=agent, credential=credential, since=_since(days))
        sums = await asyncio.gather(
            *(self._ledger.sum_usage(wanted._replace(by=key)) for key in UsageKey)
        )
        rows: dict[str, Json] = {
            f"{key}s": [usage_row(one) for one in found]
            for key, found in zip(UsageKey, sums, strict=True)
        }
        agents = sums[list(UsageKey).index(UsageKey.AGENT)]
        return {**rows, "days_by_agent": await self._stacked(wanted, agents)}

    async def _stacked(self, wanted: UsageSumFilter, agents: list[UsageSum]) -> list[Json]:
        """Return the costs of each day for each of the agents that cost most."""
        dearest = sorted(agents, key=lambda one: -one.cost)[:STACKED]
        found = await asyncio.gather(
            *(
                self._ledger.sum_usage(wanted._replace(by=UsageKey.DAY, agent=one.key))
                for one in dearest
            )
        )
        return [
            {"agent": one.key, "days": [usage_row(day) for day in days]}
            for one, days in zip(dearest, found, strict=True)
        ]

    async def requests(
        self, agent: str | None, credential: str | None, before: int | None
    ) -> list[Json]:
        """Return a page of the requests to the model API that have ended, newest first."""
        wanted = UsageFilter(agent=agent, credential=credential, before=before)
        return [request_row(one) for one in await self._ledger.list_usage(wanted, REQUESTS)]


def _since(days: int) -> int:
    """Return the beginning of the first of some days that end with today, in microseconds."""
    today = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return int((today - timedelta(days=days - 1)).astimezone().timestamp() * 1e6)
