"""A player of a hostile client's input, which checks every answer with the oracle."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from services.endpoint.mcp.lines import MAX_LINE
from services.endpoint.tests.oracle import ANYBODY, Key, key, verdict
from services.endpoint.tools.table import TOOLS
from services.endpoint.tools.tool import LongCall

LIMIT: Final = 20.0
"""Seconds until a line that must be answered counts as never answered."""

READ_LIMIT: Final = 64 * 1024 * 1024

_LAST: Final = b'{"jsonrpc":"2.0","id":"the last one","method":"ping"}'
_LONG: Final = frozenset(tool.name for tool in TOOLS if tool.long_call is not LongCall.NONE)


class End(StrEnum):
    """The ways in which a client ends its connection."""

    ASK = "sends one more request and waits until everything is answered"
    HALF = "closes its side and waits for the end"
    ABORT = "aborts in the middle"


class ViolationError(AssertionError):
    """The endpoint broke its promise."""


@dataclass
class Ledger:
    """The expected and the received answers of a connection."""

    hurried: bool
    """Whether the client does not wait for long calls."""
    expected: Counter[Key] = field(default_factory=Counter)
    optional: set[Key] = field(default_factory=set)
    answered: Counter[Key] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _refused: bool = False

    def started(self, rest: bytes) -> None:
        """Note an unfinished line; it is refused early if it is too long."""
        if len(rest) > MAX_LINE and not self._refused:
            self._refused = True
            self.expected[ANYBODY] += 1

    def sent(self, line: bytes) -> None:
        """Note a complete line that was sent."""
        if self._refused:
            self._refused = False
            return
        found = verdict(line)
        if found.cancels is not None:
            self.optional.add(found.cancels)
        for answer in found.answers:
            self.expected[answer] += 1
            if found.waits or (self.hurried and found.tool in _LONG):
                self.optional.add(answer)

    def received(self, line: bytes) -> None:
        """Note an answer.

        Raises:
            ViolationError: the answer is not expected.
        """
        answer = _checked(line)
        id = key(answer["id"])
        if self.answered[id] >= self.expected[id]:
            id = ANYBODY
        self.answered[id] += 1
        if self.answered[id] > self.expected[id]:
            raise ViolationError(f"one answer too many: {line[:300]!r}")
        self.changed.set()

    def missing(self) -> list[Key]:
        """Return the ids that still need an answer.

        The answer to a damaged line may have the id of a call that needs none.
        """
        spare = sum(self.answered[id] for id in self.optional)
        return [
            id
            for id, count in self.expected.items()
            if self.answered[id] + (spare if id == ANYBODY else 0) < count
            and id not in self.optional
        ]


def _checked(line: bytes) -> dict[str, Any]:
    """Parse an answer.

    Raises:
        ViolationError: the line is not a JSON-RPC answer.
    """
    try:
        answer: dict[str, Any] = json.loads(line)
        known = answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer)
        if "error" in answer:
            error = answer["error"]
            known &= type(error["code"]) is int and isinstance(error["message"], str)
    except (ValueError, KeyError, TypeError) as error:
        raise ViolationError(f"this is not an answer: {line[:300]!r}") from error
    if not known or "id" not in answer:
        raise ViolationError(f"this is not an answer: {line[:300]!r}")
    return answer


async def play(path: Path, chunks: Iterable[bytes], end: End) -> int:
    """Write `chunks` on a new connection; return how many lines they contain.

    Raises:
        ViolationError: a line was not answered as the oracle says.
    """
    reader, writer = await asyncio.open_unix_connection(path, limit=READ_LIMIT)
    ledger, rest, lines = Ledger(end is End.HALF), b"", 0
    reading = asyncio.create_task(_read(reader, ledger))
    try:
        async with asyncio.timeout(LIMIT):
            for chunk in chunks:
                *complete, rest = (rest + chunk).split(b"\n")
                for line in complete:
                    ledger.sent(line)
                ledger.started(rest)
                lines += len(complete)
                writer.write(chunk)
                await writer.drain()
            await _leave(writer, ledger, reading, end, rest)
    except TimeoutError:
        if reading.done():
            reading.result()
        raise ViolationError(f"no answer to {ledger.missing()[:5]}") from None
    except ConnectionError as error:
        raise ViolationError("the endpoint closed the connection") from error
    finally:
        writer.transport.abort()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return lines


async def _leave(
    writer: asyncio.StreamWriter, ledger: Ledger, reading: asyncio.Task[None], end: End, rest: bytes
) -> None:
    if end is End.ABORT:
        if reading.done():
            reading.result()
        return
    if end is End.HALF:
        ledger.sent(rest)  # the end of the input ends the line
        writer.write_eof()
        await reading
    else:
        for line, unwritten in ((rest, b""), (_LAST, _LAST)):
            ledger.sent(line)
            writer.write(unwritten + b"\n")
        await _all_answered(ledger, reading)
    if missing := ledger.missing():
        raise ViolationError(f"no answer to {missing[:5]}")


async def _all_answered(ledger: Ledger, reading: asyncio.Task[None]) -> None:
    while ledger.missing():
        ledger.changed.clear()
        changed = asyncio.create_task(ledger.changed.wait())
        await asyncio.wait((changed, reading), return_when=asyncio.FIRST_COMPLETED)
        changed.cancel()
        if reading.done():
            reading.result()
            raise ViolationError("the endpoint closed the connection")


async def _read(reader: asyncio.StreamReader, ledger: Ledger) -> None:
    while line := await reader.readline():
        ledger.received(line)
