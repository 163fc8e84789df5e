"""The questions that a harness answers, and the stream of its events."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Final, TypeAlias, TypeVar, cast
from urllib.parse import quote, urlencode

from wire import web_socket
from wire.agent_web.http import confused, request
from wire.agent_web.records import (
    Days,
    Event,
    Events,
    Journal,
    JournalLine,
    Partial,
    Record,
    State,
    Todo,
    Turn,
    Turns,
)
from wire.agent_web.values import MAX_INTEGER
from wire.errors import LimitExceeded

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, Json]
R = TypeVar("R", bound=Record)

SECONDS: Final = 10.0
"""The seconds that an answer may take."""
IDLE: Final = 60.0
"""The seconds after which a silent stream is given up; a harness sends a comment every 20 s."""
PAGE: Final = 500
"""The events of a page; a harness sends fewer when they are long."""
MAX_PAGES: Final = 10_000
"""The pages of events that are read one after the other; a harness keeps less."""
MAX_VALUES: Final = 50_000
"""The objects, lists and commas of an answer or of an event.

They limit the memory of parsed JSON: `{"":0},` grows thirty times when it is parsed.
"""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE: Final = re.compile("[\ud800-\udfff]")
_NAMES: Final = frozenset({"event", "state", "partial"})


class AgentWeb:
    """The harnesses of all agents, each on a connection of its own.

    Each method raises Unavailable when the harness is away or does not speak as one, Timeout when
    it does not answer, NotFound, and LimitExceeded when the answer, or the number of those who
    watch, is too large.
    """

    def __init__(self, connect: Callable[[str], socket.socket] = web_socket.connect) -> None:
        """Make a client.

        Args:
            connect: returns a connected socket that does not block; see wire.web_socket.
        """
        self._connect = connect

    async def get(
        self, agent: str, path: str, query: Mapping[str, str | int] | None = None
    ) -> JsonObject:
        """Return the object that the harness answers to a question, such as `/v1/todo`.

        Its texts are any text that UTF-8 can carry.
        """
        async with (
            request(self._connect(agent), agent, _target(path, query), SECONDS) as answer,
            asyncio.timeout(SECONDS),
        ):
            return _parse(await answer.body(), agent)

    def stream(
        self, agent: str, after: int | None = None
    ) -> AsyncGenerator[tuple[str, JsonObject], None]:
        """Yield the items of the stream as name and data: `event`, `state` or `partial`.

        Args:
            agent: the agent.
            after: the number of the last known event; None: only new events.

        Raises:
            Unavailable: the connection was lost: call it again with the last number.
        """
        query: dict[str, str | int] = {} if after is None else {"after": after}
        return self._items(agent, "/v1/stream", query, _NAMES)

    async def _items(
        self, agent: str, path: str, query: Mapping[str, str | int], names: frozenset[str]
    ) -> AsyncGenerator[tuple[str, JsonObject], None]:
        """Yield the items of a stream that have one of the `names`."""
        async with request(self._connect(agent), agent, _target(path, query), SECONDS) as answer:
            name, data = "", b""
            async for line in answer.lines(IDLE):
                field, _, value = line.partition(b":")
                if field == b"event":
                    name = value.strip().decode("ascii", "replace")
                elif field == b"data":
                    data = value
                elif not line and data:
                    if name in names:  # a newer harness may send others
                        yield name, _parse(data, agent)
                    name, data = "", b""

    async def state(self, agent: str) -> State:
        """Return the state of the agent."""
        return _record(State, await self.get(agent, "/v1/state"), agent)

    async def events(
        self,
        agent: str,
        *,
        before: int | None = None,
        after: int | None = None,
        turn: int | None = None,
        limit: int = 200,
    ) -> Events:
        """Return a page of events, oldest first, whose numbers grow; a long answer has fewer.

        Args:
            agent: the agent.
            before: the last events with a lower number; None: the newest.
            after: the first events with a higher number instead.
            turn: only events of this turn.
            limit: the most events, up to 500.
        """
        wanted = {"before": before, "after": after, "turn": turn, "limit": limit}
        query = {key: value for key, value in wanted.items() if value is not None}
        answer = await self.get(agent, "/v1/events", query)
        found = numbered(answer.get("events"), after=after or 0, before=before)
        found = found[-limit:] if after is None else found[:limit]
        return _record(Events, {**answer, "events": [*found]}, agent)

    async def pages(
        self, agent: str, turn: int | None = None, after: int = 0
    ) -> AsyncGenerator[list[JsonObject], None]:
        """Yield all events, of a turn or of all, oldest first, as the plain JSON of each answer.

        Args:
            agent: the agent.
            turn: only events of this turn.
            after: the number of the last known event.
        """
        query: dict[str, str | int] = (
            {"limit": PAGE} if turn is None else {"limit": PAGE, "turn": turn}
        )
        for _ in range(MAX_PAGES):
            answer = await self.get(agent, "/v1/events", {**query, "after": after})
            if not answer.get("events"):
                return
            found = numbered(answer.get("events"), after=after)
            # A harness that sends the same page again and again would be asked for ever.
            if not found:
                raise confused(agent)
            after = cast("int", found[-1]["seq"])
            yield found
        raise LimitExceeded(f"The harness of {agent} sends events without an end.")

    async def turns(self, agent: str, *, before: int | None = None, limit: int = 50) -> Turns:
        """Return a page of turns, newest first.

        Args:
            agent: the agent.
            before: only turns with a lower number; None: the newest.
            limit: the most turns, up to 200.
        """
        query = {"limit": limit} if before is None else {"limit": limit, "before": before}
        found = _record(Turns, await self.get(agent, "/v1/turns", query), agent)
        return Turns.model_construct(turns=tuple(turn for turn in found.turns[:limit] if turn.id))

    async def turn(self, agent: str, number: int) -> Turn:
        """Return a turn."""
        return _record(Turn, await self.get(agent, f"/v1/turns/{number}"), agent)

    async def days(self, agent: str, count: int) -> Days:
        """Return the sums of the last `count` days, oldest first."""
        found = _record(Days, await self.get(agent, "/v1/stats", {"days": count}), agent)
        days = sorted((day for day in found.days if day.day), key=lambda day: day.day)
        return Days.model_construct(days=tuple(days[-count:]))

    async def todo(self, agent: str) -> Todo:
        """Return the agent's own list."""
        return _record(Todo, await self.get(agent, "/v1/todo"), agent)

    async def journal(
        self, agent: str, lines: int, priority: int | None, text: str, before: str
    ) -> Journal:
        """Return the newest lines of the container's journal, oldest first.

        Args:
            agent: the agent.
            lines: the most lines, up to 200.
            priority: only lines of this priority or of a more urgent one.
            text: only lines with this text; empty for all.
            before: only lines before the one with this cursor; empty for the newest.
        """
        query: dict[str, str | int] = {"lines": lines, "text": text, "before": before}
        if priority is not None:
            query["priority"] = priority
        found = _record(Journal, await self.get(agent, "/v1/journal", query), agent)
        return Journal.model_construct(
            lines=tuple(one for one in found.lines if one.cursor)[-lines:]
        )

    async def follow_journal(
        self, agent: str, after: str, priority: int | None
    ) -> AsyncGenerator[JournalLine, None]:
        """Yield the lines of the container's journal that come after a cursor; empty: from now on.

        Raises:
            Unavailable: the connection was lost: call it again with the last cursor.
        """
        query: dict[str, str | int] = {"after": after}
        if priority is not None:
            query["priority"] = priority
        items = self._items(agent, "/v1/journal/stream", query, frozenset({"line"}))
        async with aclosing(items) as stream:
            async for _, data in stream:
                line = _record(JournalLine, data, agent)
                if line.cursor:
                    yield line

    async def follow(
        self, agent: str, after: int | None = None
    ) -> AsyncGenerator[Event | State | Partial, None]:
        """Yield the items of `stream` as records. The numbers of events grow."""
        last = after or 0
        # Closed with this one: a generator that is left open keeps its connection.
        async with aclosing(self.stream(agent, after)) as stream:
            async for name, data in stream:
                match name:
                    case "event" if numbered([data], after=last):
                        event = _record(Event, data, agent)
                        last = event.seq
                        yield event
                    case "state":
                        yield _record(State, data, agent)
                    case "partial":
                        yield _record(Partial, data, agent)


def numbered(events: Json, *, after: int = 0, before: int | None = None) -> list[JsonObject]:
    """Return the objects of a list whose numbers `seq` grow, from above `after` to below `before`.

    No event comes twice, and each page goes further than the one before, also with a hostile
    harness.
    """
    found: list[JsonObject] = []
    end = MAX_INTEGER + 1 if before is None else before
    for event in events if isinstance(events, list) else []:
        seq = event.get("seq") if isinstance(event, dict) else None
        if isinstance(event, dict) and type(seq) is int and after < seq < end:
            found.append(event)
            after = seq
    return found


def _target(path: str, query: Mapping[str, str | int] | None) -> str:
    return quote(path) + (f"?{urlencode(query)}" if query else "")


def _parse(text: bytes, agent: str) -> JsonObject:
    """Return the JSON object that `text` is, with lone surrogates replaced.

    Raises:
        LimitExceeded: it has too many values.
        Unavailable: it is no JSON object.
    """
    _check_values(text, agent)
    try:
        found: Json = json.loads(text.decode(errors="replace"))
        if _SURROGATE.search(text):
            found = _cleaned(found)
    except (ValueError, RecursionError) as error:
        raise confused(agent) from error
    if not isinstance(found, dict):
        raise confused(agent)
    return found


def _check_values(text: bytes, agent: str) -> None:
    """Refuse JSON that would need much more memory than its length, before it is parsed."""
    if len(text) <= MAX_VALUES:
        return
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")
    # No more than a key and a value follow each bracket and comma, so more quotes are too many
    # values; and only so many pieces are made here.
    if plain.count(b'"') <= 4 * MAX_VALUES:
        structure = b"".join(plain.split(b'"')[::2])
        if sum(structure.count(sign) for sign in (b"{", b"[", b",")) <= MAX_VALUES:
            return
    raise LimitExceeded(
        f"The harness of {agent} answered with more than {MAX_VALUES} values; ask for less."
    )


def _cleaned(value: Json) -> Json:
    match value:
        case str():
            return _LONE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {
                _LONE.sub("\N{REPLACEMENT CHARACTER}", key): _cleaned(item)
                for key, item in value.items()
            }
    return value


def _record(cls: type[R], values: JsonObject, agent: str) -> R:
    try:
        return cls.model_validate(values)
    except (ValueError, RecursionError) as error:
        raise confused(agent) from error
