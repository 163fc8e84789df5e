"""The spans of turns, on their way to the hive, which exports them to the operator's collector.

An error in this never stops a turn, and spans that the hive does not take are dropped in the end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from harness.backoff import Backoff
from harness.hive_client import ConnectionLostError, HiveClient, Message, ToolError
from harness.telemetry.span import Span
from harness.telemetry.turn_spans import TurnSpans

log = logging.getLogger(__name__)

BATCH: Final = 64
"""The most spans that the hive takes at once."""
MAX_WAITING: Final = 2000
"""The most spans that wait for the hive; beyond it the oldest are dropped."""
MAX_TRIES: Final = 5
FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 120.0
FLUSH_SECONDS: Final = 1.0
"""Seconds that the end of the harness may be delayed."""


class Telemetry:
    """The telemetry of the harness; `run` does its work until cancelled.

    Args:
        hive: the connection to the hive.
        model: the model that the turns ask, or empty for Claude Code's default.
    """

    def __init__(self, hive: HiveClient, model: str = "") -> None:
        self._hive = hive
        self._model = model
        self._spans: deque[Span] = deque(maxlen=MAX_WAITING)
        self._batch: list[Span] = []
        self._call: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._current = ""
        self._entered = asyncio.Event()

    def begin(self, number: int, messages: Sequence[Message]) -> TurnSpans:
        """Begin the spans of a turn; messages that the agent sends from now on belong to it."""
        spans = TurnSpans(number, messages, self._model, self._send)
        self._enter(spans.turn.traceparent)
        return spans

    async def run(self) -> None:
        """Tell the hive the span of the running turn, and spans that have ended."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell_current())
                tasks.create_task(self._export())
        finally:
            await self._flush()

    def _send(self, span: Span) -> None:
        if span.traceparent == self._current:
            self._enter("")
        self._spans.append(span)
        self._ended.set()

    def _enter(self, traceparent: str) -> None:
        self._current = traceparent
        self._entered.set()

    async def _tell_current(self) -> None:
        """Tell each new span of a turn, and tell it again on each new connection."""
        told, generation = "", 0
        while True:
            now = await self._hive.connected()
            if now != generation:
                told, generation = "", now
            current = self._current
            if told != current:
                try:
                    await self._hive.trace(current)
                except ConnectionLostError:
                    await self._hive.connected(now)
                    continue
                except ToolError as exc:
                    log.warning("the hive does not take the span of the turn: %s", exc)
                told = current
            await self._change(now)

    async def _change(self, generation: int) -> None:
        """Wait for another span or another connection."""
        tasks = {
            asyncio.create_task(self._entered.wait(), name="entered"),
            asyncio.create_task(self._hive.connected(generation), name="connected"),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._entered.clear()

    async def _export(self) -> None:
        """Hand over the spans that have ended."""
        while True:
            await self._ended.wait()
            self._ended.clear()
            while self._next_batch():
                await self._deliver()

    async def _flush(self) -> None:
        """Hand over the spans that are left, among them those of a turn that was cut off."""
        with suppress(ConnectionLostError, ToolError, TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                if self._call is not None:
                    with suppress(ConnectionLostError, ToolError):
                        await self._hand_over()
                while self._next_batch():
                    await self._hand_over()

    def _next_batch(self) -> bool:
        """Take the next spans, unless a batch is still to be delivered; False if there are none."""
        if not self._batch:
            count = min(BATCH, len(self._spans))
            self._batch = [self._spans.popleft() for _ in range(count)]
        return bool(self._batch)

    async def _deliver(self) -> None:
        for _ in range(MAX_TRIES):
            generation = await self._hive.connected()
            try:
                await self._hand_over()
            except ConnectionLostError:
                await self._hive.connected(generation)
            except ToolError as exc:
                if not self._retry.failures:
                    log.warning("the hive does not take spans: %s", exc)
                # The hive does not say when it would take the next spans.
                await asyncio.sleep(self._retry.failed())
            else:
                self._retry.succeeded()
                return
        log.warning("%d spans were dropped", len(self._batch))
        self._batch = []

    async def _hand_over(self) -> None:
        """Hand over the batch once.

        If the end of the harness cancels this, the call goes on, and the next `_hand_over` waits
        for its answer: the hive may have the batch already.
        """
        if self._call is None:
            spans = [span.arguments() for span in self._batch]
            self._call = asyncio.create_task(self._hive.record_spans(spans), name="record_spans")
        try:
            await asyncio.shield(self._call)
        except (ConnectionLostError, ToolError):
            self._call = None
            raise
        self._call, self._batch = None, []
