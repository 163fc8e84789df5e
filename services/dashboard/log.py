"""The numbered log of changes that the event streams read: bounded, in memory, told not asked."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, numbered and encoded once for all readers."""

    seq: int
    data: bytes


class EventLog:
    """What changed since when, for readers that each keep their own place in it.

    There is one log and no queue for each reader, so what slow readers cost is bounded by the
    log: who falls out of its window has missed something and must load the state again.
    """

    def __init__(self, epoch: str, max_bytes: int = MAX_BYTES) -> None:
        """Start an empty log.

        Args:
            epoch: identifies this log; another life of the service has another one.
            max_bytes: encoded changes kept; the newest is kept whatever its size.
        """
        self.epoch = epoch
        self.seq = 0
        self.closed = False
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: deque[Entry] = deque()
        self._news = asyncio.Event()

    def append(self, change: Mapping[str, Any]) -> None:
        """Number `change`, keep it and wake every waiting reader."""
        self.seq += 1
        data = json.dumps({"seq": self.seq, **change}, separators=(",", ":")).encode()
        self._entries.append(Entry(self.seq, data))
        self._bytes += len(data)
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            self._bytes -= len(self._entries.popleft().data)
        self._wake()

    def since(self, seq: int) -> list[Entry] | None:
        """The changes after `seq`, oldest first, or None when some of them are gone."""
        first = self._entries[0].seq if self._entries else self.seq + 1
        if not first - 1 <= seq <= self.seq:
            return None
        return list(islice(self._entries, seq - first + 1, None))

    async def changed(self, seq: int) -> None:
        """Return when there is something after `seq`, or when the log is closed."""
        while self.seq <= seq and not self.closed:
            await self._news.wait()

    def close(self) -> None:
        """End every reader: the service stops."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def event_id(self, seq: int) -> str:
        """The SSE id of the change `seq`."""
        return f"{self.epoch}-{seq}"

    def seq_of(self, event_id: str) -> int | None:
        """The place a reader stopped at, or None when its id is not one of this log's."""
        epoch, _, seq = event_id.rpartition("-")
        return int(seq) if epoch == self.epoch and seq.isascii() and seq.isdigit() else None
