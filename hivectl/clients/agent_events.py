"""The events of an agent, from its harness: pages of past events, and a stream of new ones."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, cast

from wire import names
from wire.agent_web import AgentWeb, State
from wire.agent_web.client import JsonObject, numbered
from wire.agent_web.http import confused
from wire.agent_web.values import is_deep
from wire.bus import Bus
from wire.clients.lifecycle import AgentClient
from wire.errors import LimitExceeded, Unavailable
from wire.records.lifecycle import TurnState
from wire.signals import SignalStream

PAGE: Final = 500
"""The events of a page."""
MOST: Final = 20_000
"""The events that are read at once; those of a turn are read one page after the other."""
MOST_BYTES: Final = 48 * 2**20
"""The bytes of the events that are read: they are all in memory."""
MOST_PAGES: Final = 200
"""The pages that are read; a harness fills each with PAGE events or 1 MiB, so it needs fewer."""
TRIES: Final = 8
"""The tries to reach a harness that lifecycle says is there; it may just be starting."""
BETWEEN: Final = 0.25
"""The seconds between two tries, times the number of the try."""

MICROSECONDS: Final = 1_000_000
HELD: Final = TurnState.HELD.value
_AWAY: Final = frozenset({TurnState.OFFLINE, TurnState.NO_REPORT, TurnState.HARNESS_AWAY})


class AgentEvents:
    """The events of one agent, as the plain JSON that its harness sends."""

    def __init__(self, bus: Bus, web: AgentWeb, name: str) -> None:
        self._bus = bus
        self._web = web
        self._name = name

    async def state(self) -> State:
        """Return the state of the agent, with the number of its newest event.

        Its harness does not know that an idle agent is held: the broker delivers nothing to it.

        Raises:
            Unavailable: the harness is away.
        """
        state = await self._web.state(self._name)
        if state.state != TurnState.IDLE or (reason := await self._held()) is None:
            return state
        since = await self._agent.get("TurnSince") / MICROSECONDS
        return state.model_copy(update={"state": HELD, "reason": reason, "since": since})

    async def holds(self) -> AsyncGenerator[str, None]:
        """Yield the reason for which the agent is held, now and each time from then on."""
        async with self._changes() as changes:
            before = None
            while True:
                held = await self._held()
                if held is not None and held != before:
                    yield held
                before = held
                await anext(aiter(changes))

    async def _held(self) -> str | None:
        """Return why the agent is held; None if it is not."""
        if await self._agent.get("TurnState") != HELD:
            return None
        return str(await self._agent.get("TurnReason"))

    @property
    def _agent(self) -> AgentClient:
        return AgentClient(self._bus, names.agent_path(self._name))

    def _changes(self) -> AbstractAsyncContextManager[SignalStream]:
        """Subscribe to the changes that lifecycle shows; to be entered before it is asked."""
        return self._bus.subscribe(
            sender=names.LIFECYCLE,
            path=names.agent_path(self._name),
            interface=names.PROPERTIES,
        )

    def of_turn(self, turn: int) -> AsyncGenerator[list[JsonObject], None]:
        """Yield all events of a turn, oldest first, page by page.

        Raises:
            Unavailable: the harness is away.
        """
        return self._web.pages(self._name, turn)

    async def newest(self, most: int, turn: int | None = None) -> list[JsonObject]:
        """Return the newest events, of a turn or of all, oldest first.

        Raises:
            LimitExceeded: they have more than MOST_BYTES.
            Unavailable: the harness is away, or sends more pages than one needs.
        """
        found: list[JsonObject] = []
        pages = size = 0
        before: int | None = None
        query: dict[str, str | int] = {} if turn is None else {"turn": turn}
        while len(found) < most:
            query["limit"] = min(most - len(found), PAGE)
            answer = await self._web.get(self._name, "/v1/events", query)
            if not answer.get("events"):
                break
            events = numbered(answer.get("events"), before=before)
            # A harness that sends the same page again and again would be asked for ever.
            if not events:
                raise confused(self._name)
            pages, size = pages + 1, size + self._size(events)
            if size > MOST_BYTES:
                raise self._too_much()
            # Nor must pages of one small event each keep the command at work.
            if pages > MOST_PAGES:
                raise confused(self._name)
            query["before"] = before = cast("int", events[0]["seq"])
            found = events + found
        return found

    def _size(self, events: list[JsonObject]) -> int:
        """Return the bytes of events."""
        if is_deep(events):
            raise confused(self._name)
        return len(json.dumps(events, ensure_ascii=False).encode(errors="surrogatepass"))

    def _too_much(self) -> LimitExceeded:
        return LimitExceeded(
            f"The events of {self._name} have more than {MOST_BYTES // 2**20} MiB. Ask for less: "
            f"`hivectl watch {self._name} -n 20` shows the newest 20."
        )

    def follow(
        self, after: int | None, on_lost: Callable[[str], None]
    ) -> AsyncGenerator[tuple[str, JsonObject], None]:
        """Yield new events as `AgentWeb.stream` does, and go on when the harness is back.

        Args:
            after: the number of the last known event; None: begin with the events after this
                call, also when the harness comes back only later.
            on_lost: is told, in a sentence, that the harness is away.

        Raises:
            Unavailable: the harness cannot be reached although lifecycle says that it is there.
        """
        return self._follow(after, time.time(), on_lost)

    async def _follow(
        self, after: int | None, since: float, on_lost: Callable[[str], None]
    ) -> AsyncGenerator[tuple[str, JsonObject], None]:
        tries = 0
        while True:
            try:
                if after is None:
                    after = await self._last_before(since)
                async with aclosing(self._web.stream(self._name, after)) as stream:
                    async for name, data in stream:
                        tries = 0
                        seq = data.get("seq")
                        if name == "event" and isinstance(seq, int):
                            after = seq
                        yield name, data
            except Unavailable:
                if tries >= TRIES:
                    raise
            tries += 1
            # The harness reports to lifecycle before it listens, and no event tells of the latter.
            await asyncio.sleep(BETWEEN * tries)
            await self._until_there(on_lost)

    async def _last_before(self, since: float) -> int:
        """Return the number of the last event before a time; the host has the same clock."""
        last = 0
        for event in await self.newest(PAGE):
            seq, at = event.get("seq"), event.get("at")
            if isinstance(seq, int) and isinstance(at, int | float) and at < since:
                last = seq
        return last

    async def _until_there(self, on_lost: Callable[[str], None]) -> None:
        """Wait until lifecycle says that the harness is connected."""
        # Subscribe first: a change between the look and the wait must not be missed.
        async with self._changes() as changes:
            said = False
            while await self._agent.get("TurnState") in _AWAY:
                if not said:
                    said = True
                    on_lost(
                        f"The harness of {self._name} is away; waiting for it. "
                        f"`hivectl status {self._name}` shows whether the agent runs."
                    )
                await anext(aiter(changes))
