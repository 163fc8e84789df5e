"""The answers of the agents' harnesses on their sockets, as rows for the pages of the agents."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

from services.dashboard.state.agent.checks import Data, integer, text
from services.dashboard.state.agent.events import PREVIEW, WHOLE, event_row, partial_row
from services.dashboard.state.agent.turns import day_row, state_row, todo_rows, turn_row
from services.dashboard.state.tables import Json, Row
from wire.agent_web import AgentWeb
from wire.agent_web.client import numbered
from wire.errors import NotFound
from wire.turn_export import Export, Form

EVENTS: Final = 200
"""Events that the page gets at once."""

TURNS: Final = 50
DAYS: Final = 30


class EventPage(NamedTuple):
    """Some of an agent's events, oldest first."""

    events: list[Row]
    first: int
    """The number of the oldest event that the harness still has; 0 if it has none."""
    last: int
    """The number of the newest event; 0 if there is none."""


class Harnesses:
    """The answers of harnesses. Each method raises a HiveError whose text says what to do."""

    def __init__(self, web: AgentWeb) -> None:
        self._web = web

    async def state(self, agent: str) -> tuple[Row, int, int]:
        """Return the state, and the numbers of the oldest and of the newest event."""
        answer = await self._web.get(agent, "/v1/state", {})
        return state_row(answer), integer(answer.get("first_seq")), integer(answer.get("last_seq"))

    async def events(
        self,
        agent: str,
        limit: int = EVENTS,
        *,
        before: int | None = None,
        after: int | None = None,
        turn: int | None = None,
    ) -> EventPage:
        """Return at most `limit` events.

        Args:
            agent: the agent's name.
            limit: the number of events.
            before: return the newest events before this one; None for the newest of all.
            after: return the oldest events after this one instead.
            turn: return events of this turn only.
        """
        wanted = {"before": before, "after": after, "limit": limit, "turn": turn}
        found, first, last = await self._events(agent, wanted)
        return EventPage([event_of(event) for event in found], first, last)

    async def event(self, agent: str, seq: int) -> Row:
        """Return an event with all of its texts."""
        found, _, _ = await self._events(agent, {"before": seq + 1, "limit": 1})
        for event in found:
            if event["seq"] == seq:
                return event_of(event, WHOLE)
        raise NotFound(f"{agent} has no event {seq}: it keeps its events for a few days.")

    def export(self, agent: str, turn: int, form: Form) -> Export:
        """Return the export of a turn."""
        return Export(self._web, agent, turn, form)

    async def turns(self, agent: str) -> list[Row]:
        """Return the newest turns, newest first."""
        answer = await self._web.get(agent, "/v1/turns", {"limit": TURNS})
        found = _objects(answer.get("turns"), TURNS)
        return [row for turn in found if (row := turn_row(turn))["id"]]

    async def turn(self, agent: str, number: int) -> Row:
        """Return one turn."""
        answer = await self._web.get(agent, f"/v1/turns/{number}", {})
        inner = answer.get("turn")
        return turn_row(inner if isinstance(inner, dict) else answer)

    async def days(self, agent: str) -> list[Row]:
        """Return the figures of the last DAYS days, oldest first."""
        answer = await self._web.get(agent, "/v1/stats", {"days": DAYS})
        rows = [row for day in _objects(answer.get("days"), 2 * DAYS) if (row := day_row(day))]
        return sorted(rows, key=lambda row: str(row["day"]))[-DAYS:]

    async def todo(self, agent: str) -> list[Json]:
        """Return the steps of the agent's own list."""
        return todo_rows(await self._web.get(agent, "/v1/todo"))

    async def stream(self, agent: str, after: int) -> AsyncGenerator[tuple[str, Row], None]:
        """Yield `event`, `state` or `partial`, each with its row.

        Each number of an event is greater than the one before, whatever the harness sends.
        """
        async with aclosing(self._web.stream(agent, after)) as stream:
            async for name, data in stream:
                if name == "event" and integer(data.get("seq")) > after:
                    after = integer(data["seq"])
                    yield "event", event_of(data)
                elif name == "state":
                    yield "state", state_row(data)
                elif name == "partial":
                    yield "partial", partial_row(data)

    async def _events(
        self, agent: str, wanted: Mapping[str, int | None]
    ) -> tuple[list[Data], int, int]:
        """Return events whose numbers grow, and the numbers of the oldest and the newest event."""
        query = {name: value for name, value in wanted.items() if value is not None}
        answer = await self._web.get(agent, "/v1/events", query)
        found: list[Data] = [
            *numbered(
                answer.get("events"), after=wanted.get("after") or 0, before=wanted.get("before")
            )
        ]
        limit = query["limit"]
        found = found[:limit] if "after" in query else found[-limit:]
        return found, integer(answer.get("first_seq")), integer(answer.get("last_seq"))


def event_of(event: Data, limit: int = PREVIEW) -> Row:
    """Return the row of an event as the harness sends it; `limit` characters of its texts."""
    data = event.get("data")
    return event_row(
        integer(event.get("seq")),
        event.get("at"),
        integer(event.get("turn")) or None,
        text(event.get("type")),
        data if isinstance(data, dict) else {"data": data},
        limit,
    )


def _objects(value: object, limit: int) -> list[Data]:
    """Return the last `limit` objects of a list; nothing for anything else."""
    found = value if isinstance(value, list) else []
    return [one for one in found[-limit:] if isinstance(one, dict)]
