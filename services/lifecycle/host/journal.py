"""The newest lines of the host's journal about some units.

Only the host's own journal is read. The container's journal is writable for the container's root,
so reading it would mean parsing files that an agent may have forged. The host's journal contains
the console output of the container, so control characters are escaped.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias, cast

from systemd import journal

from wire.errors import Unavailable
from wire.text.escaping import prose

log = logging.getLogger(__name__)

VARLINK: Final = "/run/systemd/journal/io.systemd.journal"
SYNC_SECONDS: Final = 5.0

MAX_BYTES: Final = 64 * 1024
"""The most bytes of all lines together; the oldest lines are left out beyond it."""

MAX_LINE: Final = 2048
"""The most characters of one message; the rest is cut off."""


Entry: TypeAlias = Mapping[str, object]
"""One entry of the journal: its fields, converted by systemd.journal."""


class Reader(Protocol):
    """The part of systemd.journal.Reader that is used here."""

    data_threshold: int

    def add_match(self, *matches: str) -> None:
        """Select entries with these fields."""

    def add_disjunction(self) -> None:
        """Select entries that match the fields before this call, or the fields after it."""

    def seek_tail(self) -> None:
        """Go to the end, after the newest entry."""

    def get_previous(self) -> Entry:
        """Return the previous entry; empty before the oldest."""


def _host() -> AbstractContextManager[Reader]:
    flags = journal.LOCAL_ONLY | journal.SYSTEM_ONLY
    return cast(AbstractContextManager[Reader], journal.Reader(flags=flags))


async def synchronize() -> None:
    """Wait until journald has stored everything that was written to it so far.

    Returns with a warning if journald cannot be asked, or is not done after SYNC_SECONDS.
    """
    try:
        async with asyncio.timeout(SYNC_SECONDS):
            reader, writer = await asyncio.open_unix_connection(VARLINK)
            with contextlib.closing(writer):
                writer.write(b'{"method":"io.systemd.Journal.Synchronize"}\0')
                await reader.readuntil(b"\0")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        log.warning("cannot sync the journal; its newest lines may be missing: %r", error)


class Journal:
    """A reader of the host's journal. It reads in a thread, one request at a time."""

    def __init__(
        self,
        open: Callable[[], AbstractContextManager[Reader]] = _host,
        sync: Callable[[], Awaitable[None]] = synchronize,
    ) -> None:
        self._open = open
        self._sync = sync
        self._one = asyncio.Lock()

    async def newest(self, units: Sequence[str], lines: int) -> list[str]:
        """Return the newest lines of `units`, and of systemd about them, oldest first.

        The result has at most `lines` lines and MAX_BYTES bytes. Hidden characters are spelled out.

        Raises:
            Unavailable: the journal cannot be read.
        """
        return await self._in_turn(lambda reader: _match(reader, units), _line, lines)

    async def last_of(self, unit: str, invocation: str, lines: int) -> list[str]:
        """Return the newest messages of one finished run of `unit`, like `newest`.

        Only messages of the unit's processes are returned, without time and name. journald is
        asked first to store all that the run has written.
        """
        await self._sync()

        def wanted(reader: Reader) -> None:
            reader.add_match(f"_SYSTEMD_UNIT={unit}", f"_SYSTEMD_INVOCATION_ID={invocation}")

        return await self._in_turn(wanted, _words, lines)

    async def _in_turn(
        self, wanted: Callable[[Reader], None], line: Callable[[Entry], str], lines: int
    ) -> list[str]:
        async with self._one:
            try:
                return await asyncio.to_thread(self._read, wanted, line, lines)
            except OSError as error:
                raise Unavailable(f"The journal cannot be read: {error.strerror}.") from None

    def _read(
        self, wanted: Callable[[Reader], None], line: Callable[[Entry], str], lines: int
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
    """Select the lines of the units' processes and of systemd. Both fields cannot be forged."""
    for unit in units:
        reader.add_match(f"_SYSTEMD_UNIT={unit}")
        reader.add_disjunction()
        reader.add_match("_PID=1", f"UNIT={unit}")
        reader.add_disjunction()


def _backwards(reader: Reader, lines: int) -> Iterator[Entry]:
    for _ in range(lines):
        entry = reader.get_previous()
        if not entry:
            return
        yield entry


def _line(entry: Entry) -> str:
    time = cast(datetime, entry["__REALTIME_TIMESTAMP"]).astimezone(UTC)
    who = entry.get("SYSLOG_IDENTIFIER", "")
    return f"{_time(time)} {prose(text_of(who), one_line=True)[:64]}: {_words(entry)}"


def _words(entry: Entry) -> str:
    return prose(text_of(entry.get("MESSAGE", ""))[:MAX_LINE], one_line=True)


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def text_of(value: object) -> str:
    """Return a field as text. A field is bytes if not UTF-8, and a list if it occurs twice."""
    if isinstance(value, list):
        return text_of(value[0]) if value else ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(value)
