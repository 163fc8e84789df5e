"""Bytes between two connections, both ways, with an end for each way, a time limit and a bound."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

READ_SIZE: Final = 64 * 1024


class Streams:
    """The reader and the writer of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def abort(self) -> None:
        """Close the connection at once, without what was not sent."""
        self.writer.transport.abort()

    def end(self) -> None:
        """Close this end's way; the other end may still send."""
        with contextlib.suppress(OSError):
            if self.writer.can_write_eof() and not self.writer.is_closing():
                self.writer.write_eof()


class Limits:
    """The time without a byte and the bytes of one connection."""

    def __init__(
        self, idle_timeout: float, max_transfer: int, exceeded: Callable[[], None]
    ) -> None:
        """Begin to count.

        Args:
            idle_timeout: the most seconds without a byte.
            max_transfer: the most bytes.
            exceeded: called when either is exceeded.
        """
        self.passed = 0
        """The bytes that have passed."""
        self._loop = asyncio.get_running_loop()
        self._idle_timeout = idle_timeout
        self._max_transfer = max_transfer
        self._exceeded = exceeded
        self._last = self._loop.time()
        self._timer = self._loop.call_later(idle_timeout, self._look)

    def count(self, length: int) -> None:
        """Count bytes that pass."""
        self._last = self._loop.time()
        self.passed += length
        if self.passed > self._max_transfer:
            self._exceeded()

    def close(self) -> None:
        """Limit nothing any more."""
        self._timer.cancel()

    def _look(self) -> None:
        # One timer for the whole connection: a new one for each byte would cost more.
        due = self._last + self._idle_timeout
        if self._loop.time() >= due:
            self._exceeded()
        else:
            self._timer = self._loop.call_at(due, self._look)


Count = Callable[[int], None]
"""Counts bytes that pass in one direction."""


async def copy(source: Streams, target: Streams, count: Count) -> None:
    """Copy bytes until the source's way ends, then end the target's.

    Raises:
        OSError: a connection broke.
    """
    while piece := await source.reader.read(READ_SIZE):
        await put(target, piece, count)
    target.end()


async def copy_exactly(source: Streams, target: Streams, length: int, count: Count) -> None:
    """Copy `length` bytes.

    Raises:
        OSError: a connection broke, or ended early.
    """
    while length:
        piece = await source.reader.read(min(length, READ_SIZE))
        if not piece:
            raise ConnectionResetError("the body ends early")
        length -= len(piece)
        await put(target, piece, count)


async def put(target: Streams, piece: bytes, count: Count) -> None:
    """Write `piece`, and wait until there is room for more.

    Raises:
        OSError: the connection broke.
    """
    target.writer.write(piece)
    count(len(piece))
    await target.writer.drain()
