"""The live tail of an agent: the events for its page, without a gap and without a repeat.

A tail begins with the newest events, or after the event that the page has seen last. It goes on
when the harness comes back; lifecycle's changes of the agent say when that may be.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from services.dashboard.clients.harnesses import EVENTS, Harnesses
from services.dashboard.clients.pace import Pace
from services.dashboard.clients.services import no_such_agent
from services.dashboard.state.event_log import EventLog
from services.dashboard.state.tables import Row, Table, Tables
from wire.errors import HiveError, Unavailable
from wire.records.lifecycle import AgentState

MAX_BEHIND: Final = 1_000
"""A page that has missed more events begins again with the newest."""

RETRY_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""The times after a change of the agent when the tail looks for the harness again: the harness may
report to lifecycle before it listens."""

LASTING_SECONDS: Final = 30.0
"""A connection that has lasted for so long was not one of a harness that only opens and closes."""

DOWN: Final = frozenset({AgentState.STOPPED, AgentState.SLEEPING, AgentState.FAILED})


class AgentTails:
    """The tails of the open pages. Each item is a row with the kind `tail`, one of:

    - `begin`: the page forgets its events; `events` are the newest, `state` is the harness's state,
      `first` is the number of the oldest event that the harness has.
    - `event`, `partial`, `state`: a row.
    - `away`: the harness does not answer; `reason` says why. An item of another kind ends this.
    """

    def __init__(self, harnesses: Harnesses, tables: Tables, log: EventLog) -> None:
        """Read from `harnesses`, and look again when `tables`, whose changes `log` has, change."""
        self._harnesses = harnesses
        self._tables = tables
        self._log = log

    def require(self, agent: str) -> None:
        """Raise NotFound if lifecycle knows no agent of that name.

        The harness of such an agent would be said to be away, as if it could come back.
        """
        lifecycle = self._tables.rows(Table.SERVICES).get("lifecycle")
        if lifecycle is not None and lifecycle["available"] and self._agent(agent) is None:
            raise no_such_agent(agent)

    async def follow(self, agent: str, after: int | None) -> AsyncGenerator[Row, None]:
        """Yield the items of a tail, until it is closed or the dashboard stops.

        Args:
            agent: the agent's name.
            after: the last event that the page has; None for a page that has none.
        """
        pace, failures = Pace(), 0
        while not self._log.closed:
            place, known, began = self._log.seq, self._agent(agent), time.monotonic()
            try:
                async with aclosing(self._items(agent, known, after)) as items:
                    async for item, seen in items:
                        after = seen
                        await pace.take()
                        yield item
                reason = f"The harness of {agent} has closed the connection to its page."
            except HiveError as error:
                reason = str(error)
            yield {"tail": "away", "reason": reason}
            if time.monotonic() - began > LASTING_SECONDS:
                failures = 0
            retries = not _is_down(known) and failures < len(RETRY_SECONDS)
            pause = RETRY_SECONDS[failures] if retries else None
            failures = 0 if await self._has_changed(agent, place, known, pause) else failures + 1

    async def _items(
        self, agent: str, known: Row | None, after: int | None
    ) -> AsyncGenerator[tuple[Row, int], None]:
        """Yield items, each with the number of the last event that the page has after it."""
        if known is not None and _is_down(known):
            raise Unavailable(f"{agent} is {known['state']}: its events are shown when it runs.")
        state, first, last = await self._harnesses.state(agent)
        if after is None or not max(first - 1, last - MAX_BEHIND) <= after <= last:
            page = await self._harnesses.events(agent, limit=EVENTS)
            after = int(str(page.events[-1]["seq"])) if page.events else page.last
            begin: Row = {
                "tail": "begin",
                "events": page.events,
                "first": page.first,
                "state": state,
            }
            yield begin, after
        else:
            yield {"tail": "state", **state}, after
        async with aclosing(self._harnesses.stream(agent, after)) as stream:
            async for kind, row in stream:
                if kind == "event":
                    after = int(str(row["seq"]))
                yield {"tail": kind, **row}, after

    def _agent(self, agent: str) -> Row | None:
        return self._tables.rows(Table.AGENTS).get(agent)

    async def _has_changed(
        self, agent: str, place: int, known: Row | None, seconds: float | None
    ) -> bool:
        """Wait until lifecycle reports a change of the agent; return False after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._log.closed and self._agent(agent) is known:
                    await self._log.wait_after(place)
                    place = self._log.seq
        except TimeoutError:
            return False
        return True


def _is_down(agent: Row | None) -> bool:
    return agent is not None and agent["state"] in DOWN
