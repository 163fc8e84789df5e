"""The rules of exports: the owner of a span, the limits, and a collector that is away."""

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from services.config import TelemetryConfig
from services.telemetry.checks import SECOND, check_spans
from wire.errors import LimitExceeded
from wire.records.telemetry import Span
from wire.types import Value

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 10_000
"""The most spans that wait for the collector."""
MAX_OF_AGENT: Final = 2_500
"""The most of them of one agent, so that none can take the place of all others."""
BATCH: Final = 500
"""The most spans of one export."""
MAX_TRIES: Final = 8
"""Exports of the same spans, after which they are dropped: the spans may be the cause."""
FIRST_RETRY: Final = 1.0
LAST_RETRY: Final = 60.0
MINUTE: Final = 60.0


class ExportError(Exception):
    """The collector did not take spans; the text says why."""


class Owned(NamedTuple):
    """A span, and the agent to which it belongs."""

    agent: str
    span: Span


class Exporter(Protocol):
    """The way to the collector."""

    def export(self, spans: Sequence[Owned]) -> None:
        """Send spans, in a thread of its own.

        Raises:
            ExportError: the collector did not take them.
        """


def _now() -> int:
    return time.time_ns() // 1000


class Telemetry:
    """The spans on their way to the collector.

    Args:
        exporter: the way to the collector.
        config: the limits.
        now: a clock, in microseconds since 1970.
        retry: the seconds until the second try; each further one doubles it.
        status: sets the line that `systemctl status` shows.
    """

    def __init__(
        self,
        exporter: Exporter,
        config: TelemetryConfig,
        now: Callable[[], int] = _now,
        retry: float = FIRST_RETRY,
        status: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._exporter = exporter
        self._config = config
        self._now = now
        self._retry = retry
        self._status = status
        self._queue: deque[Owned] = deque()
        self._queued: Counter[str] = Counter()
        self._spent: dict[str, tuple[int, float]] = {}
        self._added = asyncio.Event()
        self._failing = False
        self.dropped = 0
        """The spans that were dropped since the collector took some."""

    def record(self, agent: str, spans: Sequence[Mapping[str, Value]]) -> None:
        """Queue spans of `agent` for the collector; those for which there is no room are dropped.

        Raises:
            InvalidArgument: a span is not valid; none is queued.
            LimitExceeded: there are too many in one call, or of the agent in a minute.
        """
        now = self._now()
        checked = check_spans(spans, now)
        self._spend(agent, len(checked), now)
        for span in checked:
            if len(self._queue) < MAX_QUEUED and self._queued[agent] < MAX_OF_AGENT:
                self._queue.append(Owned(agent, span))
                self._queued[agent] += 1
            else:
                self.dropped += 1
        self._added.set()

    async def run(self) -> None:
        """Export spans until cancelled."""
        while True:
            await self._added.wait()
            self._added.clear()
            while self._queue:
                batch = self._take()
                await self._deliver(batch)

    async def flush(self) -> None:
        """Try once to export what is left, if the collector has taken spans before."""
        while self._queue and not self._failing:
            await self._try(self._take())

    def _take(self) -> list[Owned]:
        """Take the oldest spans out of the queue."""
        batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        for owned in batch:
            self._queued[owned.agent] -= 1
        self._queued += Counter()  # forget agents without spans
        return batch

    async def _deliver(self, batch: list[Owned]) -> None:
        """Export a batch, with several tries."""
        delay = self._retry
        for _ in range(MAX_TRIES - 1):
            if await self._try(batch):
                return
            # No event tells that a collector on the network takes spans again.
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY)
        if not await self._try(batch):
            self.dropped += len(batch)

    async def _try(self, batch: list[Owned]) -> bool:
        try:
            await asyncio.to_thread(self._exporter.export, batch)
        except ExportError as error:
            if not self._failing:
                self._failing = True
                text = f"The collector {self._config.endpoint} does not take spans: {error}."
                log.warning("%s Up to %d are kept, further ones are dropped.", text, MAX_QUEUED)
                self._status(text)
            return False
        if self._failing or self.dropped:
            text = f"The collector {self._config.endpoint} takes spans."
            log.warning("%s Until now, %d were dropped.", text, self.dropped)
            self._status(text)
        self._failing, self.dropped = False, 0
        return True

    def _spend(self, agent: str, spans: int, now: int) -> None:
        """Count spans of an agent, in a bucket that holds the allowance of a minute."""
        most = self._config.agent_spans_per_minute
        since, spent = self._spent.get(agent, (now, 0.0))
        back = max(0, now - since) / SECOND * most / MINUTE
        spent = max(0.0, spent - back) + spans
        if spent > most:
            wait = math.ceil((spent - most) * MINUTE / most)
            raise LimitExceeded(
                f"{agent} has reached its limit of {most} spans a minute "
                f"(telemetry.agent_spans_per_minute of hyperhive.toml). Try again in {wait} s."
            )
        self._spent[agent] = (now, spent)
