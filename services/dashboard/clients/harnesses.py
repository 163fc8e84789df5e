"""The answers of the agents' harnesses on their sockets, as rows for the pages of the agents."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from services.dashboard.state.agent.events import WHOLE, event_row, partial_row
from services.dashboard.state.agent.turns import day_row, state_row, todo_rows, turn_row
from services.dashboard.state.tables import Json, Row
from wire.agent_web import AgentWeb, Event, Partial, State
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
        state = await self._web.state(agent)
        return state_row(state), state.first_seq, state.last_seq

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
        found = await self._web.events(agent, before=before, after=after, turn=turn, limit=limit)
        return EventPage(
            [event_row(event) for event in found.events], found.first_seq, found.last_seq
        )

    async def event(self, agent: str, seq: int) -> Row:
        """Return an event with all of its texts."""
        for event in (await self._web.events(agent, before=seq + 1, limit=1)).events:
            if event.seq == seq:
                return event_row(event, WHOLE)
        raise NotFound(f"{agent} has no event {seq}: it keeps its events for a few days.")

    def export(self, agent: str, turn: int, form: Form) -> Export:
        """Return the export of a turn."""
        return Export(self._web, agent, turn, form)

    async def turns(self, agent: str) -> list[Row]:
        """Return the newest turns, newest first."""
        return [turn_row(turn) for turn in (await self._web.turns(agent, limit=TURNS)).turns]

    async def turn(self, agent: str, number: int) -> Row:
        """Return one turn."""
        return turn_row(await self._web.turn(agent, number))

    async def days(self, agent: str) -> list[Row]:
        """Return the figures of the last DAYS days, oldest first."""
        return [day_row(day) for day in (await self._web.days(agent, DAYS)).days]

    async def todo(self, agent: str) -> list[Json]:
        """Return the steps of the agent's own list."""
        return todo_rows((await self._web.todo(agent)).items)

    async def stream(self, agent: str, after: int) -> AsyncGenerator[tuple[str, Row], None]:
        """Yield `event`, `state` or `partial`, each with its row; the numbers of events grow."""
        async with aclosing(self._web.follow(agent, after)) as stream:
            async for item in stream:
                match item:
                    case Event():
                        yield "event", event_row(item)
                    case State():
                        yield "state", state_row(item)
                    case Partial():
                        yield "partial", partial_row(item)
