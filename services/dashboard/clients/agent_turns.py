"""The turns of an agent, as its harness tells them or else as the ledger has them, and its days.

The harness knows more of turns, such as the messages that woke the agent. The ledger also knows the
turns of agents that are stopped, and the costs of days are its own.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from services.dashboard.clients.harnesses import DAYS, TURNS, Harnesses
from services.dashboard.clients.services import ExplainingCaller
from services.dashboard.state.agent.turns import recorded_day_row, recorded_turn_row
from services.dashboard.state.tables import Json, Row
from wire.clients.ledger import LedgerClient
from wire.errors import HiveError, NotFound
from wire.records.ledger import CostFilter, CostKey, TurnFilter

MAX_PAGES: Final = 10
"""Answers of the ledger that are searched for one turn."""

PAGE: Final = 200


class AgentTurns:
    """The turns of agents. Each method raises a HiveError whose text says what to do."""

    def __init__(self, harnesses: Harnesses, caller: ExplainingCaller) -> None:
        self._harnesses = harnesses
        self._ledger = LedgerClient(caller)

    async def turns(self, agent: str) -> list[Row]:
        """Return the newest turns, newest first."""
        try:
            return await self._harnesses.turns(agent)
        except HiveError:
            turns = await self._ledger.list_turns(TurnFilter(agent=agent), TURNS)
            return [recorded_turn_row(turn) for turn in turns]

    async def turn(self, agent: str, number: int) -> Row:
        """Return one turn."""
        try:
            return await self._harnesses.turn(agent, number)
        except HiveError:
            return await self._find(agent, number)

    async def days(self, agent: str) -> list[Row]:
        """Return the figures of the last days, oldest first.

        They are those of the ledger; only the harness knows the calls of tools.
        """
        since = int((datetime.now().astimezone() - timedelta(days=DAYS)).timestamp() * 1e6)
        wanted = CostFilter(by=CostKey.DAY, agent=agent, since=since)
        tools: dict[str, Json] = {}
        with suppress(HiveError):
            tools = {str(row["day"]): row["tools"] for row in await self._harnesses.days(agent)}
        rows = [recorded_day_row(cost) for cost in await self._ledger.costs(wanted)]
        return [{**row, "tools": tools.get(str(row["day"]), [])} for row in rows]

    async def _find(self, agent: str, number: int) -> Row:
        """Return the newest turn with this number: a harness that lost its state begins anew."""
        wanted = TurnFilter(agent=agent)
        for _ in range(MAX_PAGES):
            page = await self._ledger.list_turns(wanted, PAGE)
            for turn in page:
                if turn.turn == number:
                    return recorded_turn_row(turn)
            if len(page) < PAGE:
                break
            wanted = wanted._replace(before=page[-1].id)
        raise NotFound(f"There is no turn {number} of {agent} among those that are recorded.")
