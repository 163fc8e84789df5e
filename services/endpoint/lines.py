"""Lines from and to somebody hostile: every buffer here has a bound."""

import asyncio
from typing import Final

MAX_LINE: Final = 2 * 1024 * 1024 + 64 * 1024
"""Bytes of a line: a body of 1 MiB of which JSON escapes every byte once, and what is around it."""

CHUNK: Final = 64 * 1024
"""Bytes that are read at once."""

SEND_SECONDS: Final = 30.0
"""How long a client may leave an answer unread before its connection is closed."""


class TooLongError(Exception):
    """A line is longer than MAX_LINE; the rest of it is thrown away."""


class OverloadError(Exception):
    """All connections together hold more unfinished input than the budget allows."""


class Budget:
    """Bytes of input that all connections together may hold, in lines or in calls in flight."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more; raises OverloadError, and holds nothing, when it is too much."""
        if self.held + size > self._limit:
            raise OverloadError
        self.held += size

    def give(self, size: int) -> None:
        """Give `size` held bytes back."""
        self.held -= size


class LineReader:
    """Splits a stream into lines of at most `limit` bytes, charged to `budget`."""

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
        """The next line without its end, or None at the end of the stream.

        Half a line at the end is nothing. The bytes of a returned line stay charged to the budget:
        whoever has finished with it gives them back. Raises TooLongError once for a line over the
        limit, OverloadError for one over the budget; the next call goes on behind it.
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
        """Give back what is still held for half a line."""
        self._drop(len(self._buffer))

    def _take(self, chunk: bytes) -> None:
        if self._discarding and b"\n" not in chunk:
            return
        try:
            self._budget.take(len(chunk))
        except OverloadError:
            # Whole lines in the chunk go too: they could only be kept at the budget's cost.
            self._drop(len(self._buffer))
            self._discarding = not chunk.endswith(b"\n")
            raise
        self._buffer += chunk

    def _cut(self, end: int) -> bytes | None:
        """The line that ends at `end`; None when it is the end of one that was thrown away."""
        if self._discarding or end > self._limit:
            announced, self._discarding = self._discarding, False
            self._drop(end + 1)
            if not announced:
                raise TooLongError
            return None
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        self._budget.give(1)
        return line

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self._searched = 0
        self._budget.give(size)


class LineWriter:
    """Writes whole lines in turn; whoever does not read them loses the connection."""

    def __init__(self, stream: asyncio.StreamWriter, *, patience: float = SEND_SECONDS) -> None:
        self._stream = stream
        self._patience = patience
        self._turn = asyncio.Lock()

    async def write(self, line: bytes) -> None:
        """Send `line` and its end; returns when the kernel has nearly all of it.

        Raises ConnectionError when the connection is gone or, after `patience` seconds without
        being read, closed by this.
        """
        async with self._turn:
            if self._stream.is_closing():
                raise ConnectionResetError
            self._stream.write(line + b"\n")
            try:
                async with asyncio.timeout(self._patience):
                    await self._stream.drain()
            except TimeoutError:
                self.abort()
                raise ConnectionAbortedError("The client does not read its answers.") from None

    def abort(self) -> None:
        """Close at once, and forget what was not read."""
        self._stream.transport.abort()

    async def close(self) -> None:
        """Close; what was written is still delivered when the client reads it in time."""
        self._stream.close()
        try:
            async with asyncio.timeout(self._patience):
                await self._stream.wait_closed()
        except TimeoutError:
            self.abort()
        except OSError:
            return  # the client was faster
