"""Lines from and to a hostile client: every buffer has a bound."""

import asyncio
from typing import Final

MAX_LINE: Final = 2 * 1024 * 1024 + 64 * 1024
"""Bytes of a line: a body of 1 MiB in which JSON escapes every byte, and the call around it."""

CHUNK: Final = 64 * 1024
"""Bytes of one read."""

SEND_SECONDS: Final = 30.0
"""Seconds that a client may leave an answer unread before its connection is closed."""


class TooLongError(Exception):
    """A line is longer than the limit; the reader discards the rest of it."""


class OverloadError(Exception):
    """All connections together would hold more input than the budget allows."""


class Budget:
    """The bytes of input that all connections together may hold, in lines and in calls."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def acquire(self, size: int) -> None:
        """Hold `size` more bytes.

        Raises:
            OverloadError: the limit would be exceeded; nothing was acquired.
        """
        if self.held + size > self._limit:
            raise OverloadError
        self.held += size

    def release(self, size: int) -> None:
        """Release `size` held bytes."""
        self.held -= size


class LineReader:
    """A reader of lines of at most `limit` bytes, charged to `budget`."""

    def __init__(
        self, stream: asyncio.StreamReader, budget: Budget, *, limit: int = MAX_LINE
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._discarding = False

    async def line(self) -> bytes | None:
        """Return the next line without its newline, or None at the end of the stream.

        An unfinished line at the end is discarded. The bytes of a returned line stay charged to
        the budget: the caller releases them. After an error, the next call continues with the
        line after the discarded one.

        Raises:
            TooLongError: the line exceeds the limit; raised once for each such line.
            OverloadError: the line exceeds the budget.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = self._cut(end)
                if line is not None:
                    return line
                continue
            self._searched = len(self._buffer)
            if self._discarding:
                self._drop(len(self._buffer))
            elif len(self._buffer) > self._limit:
                self._discarding = True
                raise TooLongError
            chunk = await self._stream.read(CHUNK)
            if not chunk:
                return None
            self._take(chunk)

    def close(self) -> None:
        """Release the bytes that are held for an unfinished line."""
        self._drop(len(self._buffer))

    def _take(self, chunk: bytes) -> None:
        if self._discarding and b"\n" not in chunk:
            return
        try:
            self._budget.acquire(len(chunk))
        except OverloadError:
            # Complete lines in the chunk are dropped too: the budget has no room for them.
            self._drop(len(self._buffer))
            self._discarding = not chunk.endswith(b"\n")
            raise
        self._buffer += chunk

    def _cut(self, end: int) -> bytes | None:
        """Return the line that ends at `end`, or None if it is the end of a discarded line."""
        if self._discarding or end > self._limit:
            announced, self._discarding = self._discarding, False
            self._drop(end + 1)
            if not announced:
                raise TooLongError
            return None
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self._budget.release(1)
        return line

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._searched = 0
        self._budget.release(size)


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
