"""The newest lines of the host's journal about some units.

Only the host's own journal is read: the container's lies where its root can write, and whoever
parses it would parse what an agent has made. What the container wrote to its console is in the
host's too, so no character of it may do anything to who reads it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from systemd import journal

from wire.errors import Unavailable

log = logging.getLogger(__name__)

VARLINK: Final = "/run/systemd/journal/io.systemd.journal"
SYNC_SECONDS: Final = 5.0

MAX_BYTES: Final = 64 * 1024
"""Of all lines together; the oldest are left out beyond it."""

MAX_LINE: Final = 2048
"""Characters of a message; the rest of it is cut off."""


class Reader(Protocol):
    """As much of systemd.journal.Reader as is used here."""

    data_threshold: int

    def add_match(self, *matches: str) -> None:
        """Want entries with this field."""

    def add_disjunction(self) -> None:
        """Or: what was wanted before, or what is wanted from here on."""

    def seek_tail(self) -> None:
        """Go behind the newest entry."""

    def get_previous(self) -> Mapping[str, Any]:
        """The entry before; empty at the oldest."""


def _host() -> AbstractContextManager[Reader]:
    flags = journal.LOCAL_ONLY | journal.SYSTEM_ONLY
    return cast(AbstractContextManager[Reader], journal.Reader(flags=flags))


async def synchronize() -> None:
    """Return when journald has taken in what was written to it until now; where it cannot be asked,
    or is not done after SYNC_SECONDS, at least then.
    """
    try:
        async with asyncio.timeout(SYNC_SECONDS):
            reader, writer = await asyncio.open_unix_connection(VARLINK)
            with contextlib.closing(writer):
                writer.write(b'{"method":"io.systemd.Journal.Synchronize"}\0')
                await reader.readuntil(b"\0")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        log.warning("what the journal has not taken in yet is missed: %r", error)


class Journal:
    """Reads the host's journal, one reading at a time, in a thread."""

    def __init__(
        self,
        open: Callable[[], AbstractContextManager[Reader]] = _host,
        sync: Callable[[], Awaitable[None]] = synchronize,
    ) -> None:
        self._open = open
        self._sync = sync
        self._one = asyncio.Lock()

    async def newest(self, units: Sequence[str], lines: int) -> list[str]:
        """Up to `lines` lines of `units`, and of systemd about them, oldest first.

        At most MAX_BYTES; each is one line without control characters. Raises Unavailable.
        """
        return await self._in_turn(lambda reader: _match(reader, units), _line, lines)

    async def last_of(self, unit: str, invocation: str, lines: int) -> list[str]:
        """As `newest`, only of what the processes of one run of `unit` wrote, and as they did.

        All that a run has written which is over: journald is asked to take that in first.
        """
        await self._sync()

        def wanted(reader: Reader) -> None:
            reader.add_match(f"_SYSTEMD_UNIT={unit}", f"_SYSTEMD_INVOCATION_ID={invocation}")

        return await self._in_turn(wanted, _words, lines)

    async def _in_turn(
        self, wanted: Callable[[Reader], None], line: Callable[[Mapping[str, Any]], str], lines: int
    ) -> list[str]:
        async with self._one:
            try:
                return await asyncio.to_thread(self._read, wanted, line, lines)
            except OSError as error:
                raise Unavailable(f"The journal cannot be read: {error.strerror}.") from None

    def _read(
        self, wanted: Callable[[Reader], None], line: Callable[[Mapping[str, Any]], str], lines: int
    ) -> list[str]:
        with self._open() as reader:
            reader.data_threshold = 4 * MAX_LINE
            wanted(reader)
            reader.seek_tail()
            found: list[str] = []
            room = MAX_BYTES
            for entry in _backwards(reader, lines):
                text = line(entry)
                room -= len(text.encode()) + 1
                if room < 0:
                    break
                found.append(text)
        return found[::-1]


def _match(reader: Reader, units: Sequence[str]) -> None:
    """What a unit's processes logged, and what systemd did; both fields are journald's own word."""
    for unit in units:
        reader.add_match(f"_SYSTEMD_UNIT={unit}")
        reader.add_disjunction()
        reader.add_match("_PID=1", f"UNIT={unit}")
        reader.add_disjunction()


def _backwards(reader: Reader, lines: int) -> Iterator[Mapping[str, Any]]:
    for _ in range(lines):
        entry = reader.get_previous()
        if not entry:
            return
        yield entry


def _line(entry: Mapping[str, Any]) -> str:
    time = entry["__REALTIME_TIMESTAMP"].astimezone(UTC)
    who = entry.get("SYSLOG_IDENTIFIER", "")
    return f"{_time(time)} {harmless(_text(who))[:64]}: {_words(entry)}"


def _words(entry: Mapping[str, Any]) -> str:
    return harmless(_text(entry.get("MESSAGE", ""))[:MAX_LINE])


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(value: object) -> str:
    """A field as a text: one that is not UTF-8 comes as bytes, one that occurs twice as a list."""
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)


def harmless(text: str) -> str:
    """`text` with all that cannot be seen (newlines, escapes, direction marks) spelled out."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )
