"""Plays what a hostile client writes, and holds every answer against the oracle."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from services.endpoint.mcp.lines import MAX_LINE
from services.endpoint.tests.oracle import NOBODY, Key, key, verdict
from services.endpoint.tools.table import TOOLS
from services.endpoint.tools.tool import LongCall

LIMIT: Final = 20.0
"""Seconds until a line that must be answered counts as never answered."""

READ_LIMIT: Final = 64 * 1024 * 1024

_LAST: Final = b'{"jsonrpc":"2.0","id":"the last one","method":"ping"}'
_LONG: Final = frozenset(tool.name for tool in TOOLS if tool.long_call is not LongCall.NONE)


class End(StrEnum):
    """How a client leaves."""

    ASK = "asks for one thing more and waits until everything is answered"
    HALF = "says that it has said everything, and waits for the end"
    ABORT = "is gone in the middle"


class ViolationError(AssertionError):
    """The endpoint broke its promise."""


@dataclass
class Books:
    """What is still to come back on one connection, and what came."""

    hurried: bool
    """Whether the client will not wait for calls that take long."""
    expected: Counter[Key] = field(default_factory=Counter)
    optional: set[Key] = field(default_factory=set)
    answered: Counter[Key] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _refused: bool = False

    def begun(self, rest: bytes) -> None:
        """The line after the last complete one begins with `rest`: refused early when too long."""
        if len(rest) > MAX_LINE and not self._refused:
            self._refused = True
            self.expected[NOBODY] += 1

    def asked(self, line: bytes) -> None:
        """A complete line was sent."""
        if self._refused:
            self._refused = False
            return
        found = verdict(line)
        if found.cancels is not None:
            self.optional.add(found.cancels)
        if found.answers is not None:
            self.expected[found.answers] += 1
            if found.waits or (self.hurried and found.tool in _LONG):
                self.optional.add(found.answers)

    def came(self, line: bytes) -> None:
        """An answer arrived; raises ViolationError for one that nobody waits for."""
        answer = _checked(line)
        id = key(answer["id"])
        self.answered[id] += 1
        if self.answered[id] > self.expected[id]:
            raise ViolationError(f"one answer too many: {line[:300]!r}")
        self.changed.set()

    def missing(self) -> list[Key]:
        """The ids that must have an answer more."""
        return [
            id
            for id, count in self.expected.items()
            if self.answered[id] < count and id not in self.optional
        ]


def _checked(line: bytes) -> dict[str, Any]:
    """The answer on `line`; raises ViolationError when it is none of JSON-RPC."""
    try:
        answer: dict[str, Any] = json.loads(line)
        known = answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
        if "error" in answer:
            error = answer["error"]
            known &= type(error["code"]) is int and isinstance(error["message"], str)
    except (ValueError, KeyError, TypeError) as error:
        raise ViolationError(f"this is no answer: {line[:300]!r}") from error
    if not known or "id" not in answer:
        raise ViolationError(f"this is no answer: {line[:300]!r}")
    return answer


async def play(path: Path, chunks: Iterable[bytes], end: End) -> int:
    """Write `chunks` on a connection of its own, as they are cut; answers how many lines that was.

    Raises ViolationError unless every line is answered as the oracle says, by the end of it.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=READ_LIMIT)
    books, rest, lines = Books(end is End.HALF), b"", 0
    reading = asyncio.create_task(_read(reader, books))
    try:
        async with asyncio.timeout(LIMIT):
            for chunk in chunks:
                *complete, rest = (rest + chunk).split(b"\n")
                for line in complete:
                    books.asked(line)
                books.begun(rest)
                lines += len(complete)
                writer.write(chunk)
                await writer.drain()
            await _leave(writer, books, reading, end, rest)
    except TimeoutError:
        if reading.done():
            reading.result()
        raise ViolationError(f"no answer to {books.missing()[:5]}") from None
    except ConnectionError as error:
        raise ViolationError("the endpoint closed the connection") from error
    finally:
        writer.transport.abort()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return lines


async def _leave(
    writer: asyncio.StreamWriter, books: Books, reading: asyncio.Task[None], end: End, rest: bytes
) -> None:
    if end is End.ABORT:
        if reading.done():
            reading.result()
        return
    if end is End.HALF:
        writer.write_eof()
        await reading
    else:
        for line, unwritten in ((rest, b""), (_LAST, _LAST)):
            books.asked(line)
            writer.write(unwritten + b"\n")
        await _all_answered(books, reading)
    if missing := books.missing():
        raise ViolationError(f"no answer to {missing[:5]}")


async def _all_answered(books: Books, reading: asyncio.Task[None]) -> None:
    while books.missing():
        books.changed.clear()
        changed = asyncio.create_task(books.changed.wait())
        await asyncio.wait((changed, reading), return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        if reading.done():
            reading.result()
            raise ViolationError("the endpoint closed the connection")


async def _read(reader: asyncio.StreamReader, books: Books) -> None:
    while line := await reader.readline():
        books.came(line)
