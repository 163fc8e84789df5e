"""The costs and budgets of agents, from the ledger."""

from datetime import datetime

from wire.clients.ledger import LedgerClient
from wire.errors import HiveError
from wire.records.ledger import Budget, BudgetKind, CostFilter

_SECONDS = 5.0
"""The seconds that a command which shows agents waits for the ledger."""


async def costs_today(ledger: LedgerClient) -> dict[str, int] | None:
    """Return the cost of each agent since midnight, in millionths of a dollar.

    None: the ledger does not answer. Agents without turns are left out.
    """
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = CostFilter(since=round(midnight.timestamp() * 1_000_000))
    try:
        found = await ledger.within(_SECONDS).costs(wanted)
    except HiveError:
        return None
    return {cost.key: cost.cost for cost in found}


async def limited_budgets(ledger: LedgerClient, agent: str) -> list[Budget] | None:
    """Return the budgets of an agent that have a limit.

    None: the ledger does not answer.
    """
    try:
        found = await ledger.within(_SECONDS).list_budgets()
    except HiveError:
        return None
    mine = [b for b in found if (b.kind, b.name) == (BudgetKind.AGENT, agent)]
    return [b for b in mine if b.limit or b.limit_tokens]
