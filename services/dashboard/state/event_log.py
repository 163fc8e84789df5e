"""The numbered log of changes that event streams read: bounded, and kept in memory."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, numbered and encoded once for all readers."""

    seq: int
    data: bytes
    """The change as Server-Sent Events have it."""


class EventLog:
    """The changes, for readers that each keep their own place in the log.

    Readers share one log instead of having a queue each, so the log's size bounds the cost of slow
    readers. A reader that falls behind the oldest entry has missed changes and must load the state
    again.
    """

    def __init__(self, epoch: str, max_bytes: int = MAX_BYTES) -> None:
        """Start an empty log.

        Args:
            epoch: identifies this log; each start of the service makes a new one.
            max_bytes: encoded changes to keep; the newest is kept whatever its size.
        """
        self.epoch = epoch
        self.seq = 0
        self.closed = False
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: deque[Entry] = deque()
        self._changed = asyncio.Event()

    def append(self, change: Mapping[str, object]) -> None:
        """Number `change`, keep it and wake every waiting reader."""
        self.seq += 1
        text = json.dumps({"seq": self.seq, **change}, separators=(",", ":"))
        data = f"id: {self.event_id(self.seq)}\ndata: {text}\n\n".encode()
        self._entries.append(Entry(self.seq, data))
        self._bytes += len(data)
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            self._bytes -= len(self._entries.popleft().data)
        self._wake_readers()

    def entries_after(self, seq: int) -> list[Entry] | None:
        """Return the changes after `seq`, oldest first, or None when some of them are gone."""
        first = self._entries[0].seq if self._entries else self.seq + 1
        if not first - 1 <= seq <= self.seq:
            return None
        return list(islice(self._entries, seq - first + 1, None))

    async def wait_after(self, seq: int) -> None:
        """Wait until there is a change after `seq`, or the log is closed."""
        while self.seq <= seq and not self.closed:
            await self._changed.wait()

    def close(self) -> None:
        """Wake every reader for the last time: the service stops."""
        self.closed = True
        self._wake_readers()

    def _wake_readers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def event_id(self, seq: int) -> str:
        """Return the SSE id of the change `seq`."""
        return f"{self.epoch}-{seq}"

    def seq_of(self, event_id: str) -> int | None:
        """Return the number of the change with this SSE id, or None for an id of another log."""
        epoch, _, seq = event_id.rpartition("-")
        return int(seq) if epoch == self.epoch and seq.isascii() and seq.isdigit() else None
