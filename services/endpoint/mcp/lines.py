"""Lines from and to a hostile client: every buffer has a bound."""

import asyncio
from dataclasses import dataclass
from typing import Final

from services.endpoint.mcp.rescue import TAIL, rescue

MAX_LINE: Final = 2 * 1024 * 1024 + 64 * 1024
"""Bytes of a line: a body of 1 MiB in which JSON escapes every byte, and the call around it."""

CHUNK: Final = 64 * 1024
"""Bytes of one read."""

KEPT_HEAD: Final = 4096
"""Bytes of the beginning of a discarded line that are kept until its end."""

SEND_SECONDS: Final = 30.0
"""Seconds that a client may leave an answer unread before its connection is closed."""


class RejectedLineError(Exception):
    """A line was discarded; its sender waits for an answer.

    Attributes:
        head: The beginning of the line, from which the id of the request can be read.
        tail: The end of the line, or None if `head` is the whole line.
    """

    def __init__(self, head: bytes, tail: bytes | None = None) -> None:
        super().__init__()
        self.head = head
        self.tail = tail


class TooLongError(RejectedLineError):
    """A line is longer than the limit."""


class OverloadError(RejectedLineError):
    """All connections together would hold more input than the budget allows."""


class Budget:
    """The bytes of input that all connections together may hold, in lines and in calls."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def acquire(self, size: int) -> bool:
        """Hold `size` more bytes; return False if that would exceed the limit."""
        if self.held + size > self._limit:
            return False
        self.held += size
        return True

    def release(self, size: int) -> None:
        """Release `size` held bytes."""
        self.held -= size


@dataclass
class _Discarded:
    """A line that is being discarded."""

    reason: type[RejectedLineError]
    head: bytes
    """Its beginning, until it was announced: only the reader of the id needs it."""
    announced: bool = False
    tail: bytes = b""


class LineReader:
    """A reader of lines of at most `limit` bytes, charged to `budget`."""

    def __init__(
        self, stream: asyncio.StreamReader, budget: Budget, *, limit: int = MAX_LINE
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._limit = limit
        self._buffer = bytearray()
        self._charged = 0
        """Bytes at the beginning of the buffer that are charged to the budget."""
        self._searched = 0
        self._refusing = False
        """Whether the budget had no room for the buffer: its lines are refused one by one."""
        self._discarded: _Discarded | None = None

    async def line(self) -> bytes | None:
        """Return the next line without its newline, or None at the end of the stream.

        The text after the last newline is a line, too. The bytes of a returned line stay charged
        to the budget: the caller releases them. After an error, the next call continues with the
        line after the discarded one.

        Raises:
            TooLongError: the line exceeds the limit; raised once for each such line, as soon as the
                id of its request is known.
            OverloadError: the line exceeds the budget; raised once for each such line.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0 and not self._refusing:
                self._searched = len(self._buffer)
                self._shorten()
                chunk = await self._stream.read(CHUNK)
                if chunk:
                    self._take(chunk)
                    continue
                end = self._searched = len(self._buffer)
                if not end and self._discarded is None:
                    return None
            line = self._cut(end)
            if line is not None:
                return line

    def close(self) -> None:
        """Release the bytes that are held for an unfinished line."""
        self._drop(len(self._buffer))

    def _take(self, chunk: bytes) -> None:
        if self._discarded and b"\n" not in chunk:
            self._discarded.tail = (self._discarded.tail + chunk)[-TAIL:]
            return
        self._buffer += chunk
        if self._budget.acquire(len(chunk)):
            self._charged += len(chunk)
        else:
            self._refusing = True

    def _shorten(self) -> None:
        """Discard the unfinished line in the buffer if it is too long."""
        if self._discarded is None and len(self._buffer) > self._limit:
            self._discard(TooLongError)

    def _discard(self, reason: type[RejectedLineError]) -> None:
        """Discard the unfinished line in the buffer; announce that at once if its id is known."""
        head = bytes(self._buffer)
        self._drop(len(head))
        known = rescue(head, b"").id is not None
        self._discarded = _Discarded(reason, b"" if known else head[:KEPT_HEAD], known)
        if known:
            raise reason(head, b"")

    def _cut(self, end: int) -> bytes | None:
        """Return the line that ends at `end`, or None if there is nothing to return.

        `end` is negative if the line does not end in the buffer; it is refused then.
        """
        if end < 0:
            self._refusing = False
            if self._buffer:
                self._discard(OverloadError)
            return None
        if self._discarded is not None:
            self._end_discarded(self._discarded, end)
            return None
        if end > self._limit or self._refusing:
            line = bytes(memoryview(self._buffer)[:end])
            self._drop(end + 1)
            if self._refusing and not line.strip():
                return None
            raise (OverloadError if self._refusing else TooLongError)(line)
        line = bytes(memoryview(self._buffer)[:end])
        self._charged -= end  # the caller releases the bytes of the line
        del self._buffer[:end]
        self._drop(1)
        return line

    def _end_discarded(self, discarded: _Discarded, end: int) -> None:
        self._discarded = None
        tail = discarded.tail + bytes(memoryview(self._buffer)[max(0, end - TAIL) : end])
        self._drop(end + 1)
        if not discarded.announced:
            raise discarded.reason(discarded.head, tail[-TAIL:])

    def _drop(self, size: int) -> None:
        size = min(size, len(self._buffer))
        del self._buffer[:size]
        self._searched = 0
        released = min(size, self._charged)
        self._charged -= released
        self._budget.release(released)


class LineWriter:
    """A writer of whole lines; it closes the connection of a client that does not read."""

    def __init__(self, stream: asyncio.StreamWriter, *, send_timeout: float = SEND_SECONDS) -> None:
        self._stream = stream
        self._send_timeout = send_timeout
        self._turn = asyncio.Lock()

    async def write(self, line: bytes) -> None:
        """Write `line` and a newline; return when the kernel has nearly all of it.

        Raises:
            ConnectionError: the connection is closed, or the client has not read for the send
                timeout; the connection is closed then.
        """
        async with self._turn:
            if self._stream.is_closing():
                raise ConnectionResetError
            self._stream.write(line + b"\n")
            try:
                async with asyncio.timeout(self._send_timeout):
                    await self._stream.drain()
            except TimeoutError:
                self.abort()
                raise ConnectionAbortedError("The client does not read its answers.") from None

    def abort(self) -> None:
        """Close at once, and discard what the client has not read."""
        self._stream.transport.abort()

    async def close(self) -> None:
        """Close; the client can still read written lines within the send timeout."""
        self._stream.close()
        try:
            async with asyncio.timeout(self._send_timeout):
                await self._stream.wait_closed()
        except TimeoutError:
            self.abort()
        except OSError:
            return  # the client closed first
