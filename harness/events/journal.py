"""The container's own journal, for the operator: a page of lines, and those that come.

journalctl reads it, in a process for each question. Only programs of this container write it, so
its reader believes no line.
"""

import asyncio
import json
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from harness.jsonvalues import Json, JsonObject

SECONDS: Final = 8.0
"""Seconds that a page may take."""
MAX_LINES: Final = 200
MAX_TEXT: Final = 2048
"""Characters of a line; the rest is cut off."""
MAX_READ: Final = 2**20
"""Bytes of an entry; a longer one is left out."""
MAX_PROCESSES: Final = 6

FIELDS: Final = "PRIORITY,_SYSTEMD_UNIT,UNIT,SYSLOG_IDENTIFIER,_PID,MESSAGE"
COMMAND: Final = (
    "journalctl",
    "--output=json",
    f"--output-fields={FIELDS}",
    "--quiet",
    "--no-pager",
)


class BusyError(Exception):
    """Too many processes read the journal."""


class Journal:
    """The reader of the journal."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        """Read with `command`, to which the options are added."""
        self._command = command
        self._running = 0

    async def page(
        self, lines: int, *, priority: int | None = None, text: str = "", before: str = ""
    ) -> list[JsonObject]:
        """Return the newest lines, oldest first.

        Args:
            lines: the most lines, up to MAX_LINES.
            priority: only lines of this priority or of a more urgent one.
            text: only lines that contain this text, in any case.
            before: the newest lines before the one with this cursor.

        Raises:
            BusyError: too many processes read the journal.
            OSError: there is no journalctl.
            TimeoutError: it has taken too long.
        """
        options = ["--reverse", f"--lines={min(lines, MAX_LINES) + bool(before)}"]
        options += [f"--cursor={before}"] if before else []
        options += [f"--grep={re.escape(text)}", "--case-sensitive=no"] if text else []
        found: list[JsonObject] = []
        async with asyncio.timeout(SECONDS), self._reading(options, priority) as process:
            async for line in _lines(process):
                if line["cursor"] != before:
                    found.append(line)
        return found[::-1][-lines:]

    async def follow(
        self, after: str = "", *, priority: int | None = None, ping: float
    ) -> AsyncGenerator[JsonObject | None, None]:
        """Yield the lines that come after the one with the cursor `after`; empty: from now on.

        None is yielded when `ping` seconds have passed without a line.

        Raises:
            BusyError: too many processes read the journal.
            OSError: there is no journalctl.
        """
        options = ["--follow", "--lines=all" if after else "--lines=0"]
        options += [f"--after-cursor={after}"] if after else []
        async with self._reading(options, priority) as process:
            lines = _lines(process)
            waiting: asyncio.Future[JsonObject] | None = None
            try:
                while True:
                    waiting = waiting or asyncio.ensure_future(anext(lines))
                    done, _ = await asyncio.wait([waiting], timeout=ping)
                    if not done:
                        yield None
                        continue
                    line, waiting = waiting, None
                    try:
                        yield line.result()
                    except StopAsyncIteration:
                        return
            finally:
                if waiting is not None:
                    waiting.cancel()

    @asynccontextmanager
    async def _reading(self, options: list[str], priority: int | None) -> AsyncIterator[Process]:
        """Run journalctl, and end it with the block."""
        if self._running >= MAX_PROCESSES:
            raise BusyError
        self._running += 1
        try:
            urgent = [] if priority is None else [f"--priority={priority}"]
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *options,
                *urgent,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
                limit=MAX_READ,
            )
            try:
                yield process
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        finally:
            self._running -= 1


async def _lines(process: Process) -> AsyncGenerator[JsonObject, None]:
    assert process.stdout is not None  # noqa: S101 - that is what PIPE means
    while True:
        try:
            written = await process.stdout.readline()
        except ValueError:
            continue  # an entry that is too long
        if not written:
            return
        if (line := _line(written)) is not None:
            yield line


def _line(written: bytes) -> JsonObject | None:
    """Return an entry as the page shows it; None for what is no entry."""
    try:
        entry = json.loads(written)
        cursor, time = entry["__CURSOR"], int(entry["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError):
        return None
    pid = _text(entry.get("_PID"))
    of_systemd = pid == "1" and entry.get("UNIT")
    return {
        "cursor": cursor,
        "at": time / 1e6,
        "priority": int(p) if (p := _text(entry.get("PRIORITY"))) in list("01234567") else 6,
        "unit": _text(entry.get("UNIT" if of_systemd else "_SYSTEMD_UNIT")),
        "identifier": _text(entry.get("SYSLOG_IDENTIFIER"))[:64],
        "pid": int(pid) if pid.isascii() and pid.isdigit() else 0,
        "message": _text(entry.get("MESSAGE"))[:MAX_TEXT],
    }


def _text(value: Json) -> str:
    """Return a field as text: journalctl writes one that is not UTF-8 as a list of bytes."""
    match value:
        case str():
            return value
        case [int(), *_]:
            numbers = [one for one in value if isinstance(one, int) and 0 <= one < 256]
            return bytes(numbers).decode(errors="replace")
        case [str(first), *_]:
            return first
    return ""
