"""The answers of the agents' harnesses on their sockets, as rows for the pages of the agents.

To escape the texts of a hostile harness takes seconds. So threads make the rows, and the dashboard
goes on with its other work meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple, TypeVar

from services.dashboard.state.agent.events import WHOLE, event_row, partial_row
from services.dashboard.state.agent.journal import journal_row
from services.dashboard.state.agent.turns import day_row, state_row, todo_rows, turn_row
from services.dashboard.state.tables import Json, Row
from wire.agent_web import AgentWeb, Event, Partial, State
from wire.errors import NotFound
from wire.turn_export import Export, Form

EVENTS: Final = 200
"""Events that the page gets at once."""

TURNS: Final = 50
THREADS: Final = 2
"""The threads that make rows. More would take the processor from the event loop."""
DAYS: Final = 30

T = TypeVar("T")


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
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="rows")

    def close(self) -> None:
        """End the threads when they have made the rows that they make now."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def state(self, agent: str) -> tuple[Row, int, int]:
        """Return the state, and the numbers of the oldest and of the newest event."""
        state = await self._web.state(agent)
        return await self._made(lambda: state_row(state)), state.first_seq, state.last_seq

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
        rows = await self._made(lambda: [event_row(event) for event in found.events])
        return EventPage(rows, found.first_seq, found.last_seq)

    async def event(self, agent: str, seq: int) -> Row:
        """Return an event with all of its texts."""
        for event in (await self._web.events(agent, before=seq + 1, limit=1)).events:
            if event.seq == seq:
                return await self._made(partial(event_row, event, WHOLE))
        raise NotFound(f"{agent} has no event {seq}: it keeps its events for a few days.")

    def export(self, agent: str, turn: int, form: Form) -> Export:
        """Return the export of a turn."""
        return Export(self._web, agent, turn, form)

    async def turns(self, agent: str) -> list[Row]:
        """Return the newest turns, newest first."""
        found = (await self._web.turns(agent, limit=TURNS)).turns
        return await self._made(lambda: [turn_row(turn) for turn in found])

    async def turn(self, agent: str, number: int) -> Row:
        """Return one turn."""
        found = await self._web.turn(agent, number)
        return await self._made(lambda: turn_row(found))

    async def days(self, agent: str) -> list[Row]:
        """Return the figures of the last DAYS days, oldest first."""
        found = (await self._web.days(agent, DAYS)).days
        return await self._made(lambda: [day_row(day) for day in found])

    async def todo(self, agent: str) -> list[Json]:
        """Return the steps of the agent's own list."""
        found = (await self._web.todo(agent)).items
        return await self._made(lambda: todo_rows(found))

    async def journal(
        self, agent: str, limit: int, priority: int | None, text: str, before: str
    ) -> list[Row]:
        """Return lines of the container's own journal, oldest first."""
        found = (await self._web.journal(agent, limit, priority, text, before)).lines
        return await self._made(lambda: [journal_row(line) for line in found])

    async def follow_journal(
        self, agent: str, after: str, priority: int | None
    ) -> AsyncGenerator[Row, None]:
        """Yield the lines of the container's own journal that come after a cursor."""
        async with aclosing(self._web.follow_journal(agent, after, priority)) as lines:
            async for line in lines:
                yield await self._made(partial(journal_row, line))

    async def stream(self, agent: str, after: int) -> AsyncGenerator[tuple[str, Row], None]:
        """Yield `event`, `state` or `partial`, each with its row; the numbers of events grow."""
        async with aclosing(self._web.follow(agent, after)) as stream:
            async for item in stream:
                yield await self._made(partial(_streamed, item))

    async def _made(self, make: Callable[[], T]) -> T:
        """Return what `make` returns in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, make)


def _streamed(item: Event | State | Partial) -> tuple[str, Row]:
    match item:
        case Event():
            return "event", event_row(item)
        case State():
            return "state", state_row(item)
        case Partial():
            return "partial", partial_row(item)
