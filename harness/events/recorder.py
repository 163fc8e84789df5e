"""The sender of ended turns to the hive's ledger, which knows the costs without the container.

A turn is sent until the ledger has it, also after a restart of either. A repetition is harmless.
"""

import asyncio
import logging
import re
from collections import Counter
from typing import Final

from harness.backoff import Backoff
from harness.events.store import EventStore
from harness.hive_client import ConnectionLostError, HiveClient, ToolError, reportable_model
from harness.jsonvalues import Json, JsonObject
from harness.lines import one_line

log = logging.getLogger(__name__)

TOOL: Final = "record_turn"
MAX_TRIES: Final = 5
"""Refusals after which a turn is not sent any more."""

MAX_ERROR: Final = 500
MAX_TOOLS: Final = 64
FIRST_RETRY: Final = 60.0
LAST_RETRY: Final = 3600.0

NUMBERS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "context_tokens",
    "cost_usd",
    "tool_calls",
    "denied",
    "open_threads",
    "open_reminders",
    "first_request_ms",
    "first_token_ms",
)


class Recorder:
    """The sender of turns; `run` sends them until cancelled."""

    def __init__(self, hive: HiveClient, store: EventStore) -> None:
        self._hive = hive
        self._store = store
        self._tries: Counter[int] = Counter()
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)

    async def run(self) -> None:
        """Send turns as they end, until cancelled."""
        ended = self._store.ended
        while True:
            generation = await self._hive.connected()
            ended.clear()
            try:
                await self._count_open()
                delay = await self._send()
            except ConnectionLostError:
                await self._hive.connected(generation)
                continue
            await self._wait(ended, delay)

    async def _wait(self, ended: asyncio.Event, delay: float) -> None:
        """Wait for the end of a turn; after a refusal, for `delay`."""
        if delay:
            # The hive does not say when the ledger is back, or when its hourly limit has ended.
            await asyncio.sleep(delay)
            return
        # A turn that ended without a connection is sent on the next one.
        tasks = {
            asyncio.create_task(ended.wait(), name="ended"),
            asyncio.create_task(self._hive.connected(self._hive.generation), name="connected"),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _count_open(self) -> None:
        """Add the number of open threads and reminders to the turn that has just ended."""
        number = self._store.last_turn
        if number is None or not self._hive.offers("get_open_threads"):
            return
        try:
            counts = await self._hive.open_threads()
        except ToolError as exc:
            log.warning("the open threads are not known: %s", exc)
            return
        reminders = counts.pop("reminder", 0)
        self._store.turns.count_open(number, sum(counts.values()), reminders)
        self._store.last_turn = None

    async def _send(self) -> float:
        """Send the turns that the hive does not have; return the seconds until the next try."""
        while self._hive.offers(TOOL) and (rows := self._store.turns.unrecorded(20)):
            for row in rows:
                number = int(row["id"])
                try:
                    await self._hive.record_turn(arguments(row))
                except ToolError as exc:
                    self._tries[number] += 1
                    log.warning("turn %d is not recorded: %s", number, exc)
                    if self._tries[number] < MAX_TRIES:
                        return self._retry.failed()
                self._tries.pop(number, None)
                self._retry.succeeded()
                self._store.turns.mark_recorded(number)
        return 0.0


def arguments(row: JsonObject) -> JsonObject:
    """Return a turn as the hive takes it; the agent may have changed the row."""
    started = _number(row.get("started")) or 0.0
    ended = _number(row.get("ended"))
    given: JsonObject = {
        "turn": int(row["id"]),
        "started": started,
        # A killed harness has left no end.
        "ended": started if ended is None else ended,
        "outcome": str(row.get("outcome")),
        "error": one_line(str(row.get("error") or ""), MAX_ERROR),
        "model": reportable_model(str(row.get("model") or "")) or "",
        "session": re.sub(r"[^A-Za-z0-9_.-]", "", str(row.get("session") or ""))[:64],
        "tools": _tools(row.get("tools")),
    }
    given |= {name: row[name] for name in NUMBERS if _number(row.get(name)) is not None}
    return given


def _number(value: Json) -> float | None:
    return value if isinstance(value, int | float) else None


def _tools(tools: Json) -> dict[str, int]:
    """Return the most used tools, with the characters of a tool's name."""
    counts: Counter[str] = Counter()
    for name, calls in (tools if isinstance(tools, dict) else {}).items():
        if isinstance(calls, int) and calls > 0:
            counts[re.sub(r"[^A-Za-z0-9_.:/-]", "-", name)[:128] or "-"] += calls
    return dict(counts.most_common(MAX_TOOLS))
