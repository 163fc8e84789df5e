"""The answers of the agents' harnesses on their sockets, as rows for the pages of the agents."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

from services.dashboard.state.agent.checks import MAX_INTEGER, Data, integer, text
from services.dashboard.state.agent.events import PREVIEW, WHOLE, event_row, partial_row
from services.dashboard.state.agent.turns import day_row, state_row, todo_rows, turn_row
from services.dashboard.state.tables import Json, Row
from wire.agent_web import AgentWeb
from wire.errors import LimitExceeded, NotFound

EVENTS: Final = 200
"""Events that the page gets at once."""

TURNS: Final = 50
DAYS: Final = 30
MAX_EXPORTED: Final = 32 * 1024 * 1024
"""Bytes of an exported turn."""

MAX_PAGES: Final = 500
"""Answers about a turn that are read for its export."""


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
        self._exporting = asyncio.Lock()  # an export may need a hundred MiB of memory

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

    async def export(self, agent: str, turn: int) -> bytes:
        """Return all events of a turn as lines of JSON, oldest first; one export after the other.

        Raises:
            LimitExceeded: they have more than MAX_EXPORTED bytes, or come in too many answers.
        """
        async with self._exporting:
            return await self._exported(agent, turn)

    async def _exported(self, agent: str, turn: int) -> bytes:
        advice = f"Run `hivectl export-turn {agent} {turn}`."
        lines: list[bytes] = []
        total, before = 0, None
        for _ in range(MAX_PAGES):
            wanted = {"before": before, "limit": EVENTS, "turn": turn}
            found, _, _ = await self._events(agent, wanted)
            if not found:
                break
            for event in reversed(found):
                lines.append(_line(event))
                total += len(lines[-1])
            if total > MAX_EXPORTED:
                raise LimitExceeded(f"Turn {turn} of {agent} has too many events. {advice}")
            before = integer(found[0]["seq"])
        else:
            raise LimitExceeded(f"Turn {turn} of {agent} has too many events. {advice}")
        if not lines:
            raise NotFound(f"{agent} has no events of turn {turn}: it keeps them for a few days.")
        return b"".join(reversed(lines))

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
        found: list[Data] = []
        end, after = wanted.get("before") or MAX_INTEGER + 1, wanted.get("after") or 0
        for event in reversed(_objects(answer.get("events"), query["limit"])):
            if after < (seq := integer(event.get("seq"))) < end:
                found.append(event)
                end = seq
        return found[::-1], integer(answer.get("first_seq")), integer(answer.get("last_seq"))


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


def _line(event: Data) -> bytes:
    """Return an event as a line of JSON; NaN and infinite numbers, which JSON lacks, end it."""
    try:
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps({"seq": event["seq"], "error": "This event is not valid JSON."})
    return text.encode() + b"\n"


def _objects(value: object, limit: int) -> list[Data]:
    """Return the last `limit` objects of a list; nothing for anything else."""
    found = value if isinstance(value, list) else []
    return [one for one in found[-limit:] if isinstance(one, dict)]
