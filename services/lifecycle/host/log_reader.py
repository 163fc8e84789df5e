"""Entries of the host's journal about units of the hive: pages of them, and the next ones.

As in `journal`, only the host's own journal is read, and only by fields that journald vouches for.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime
from typing import Final, NamedTuple, Protocol, cast

from systemd import journal

from services.lifecycle.host.journal import MAX_BYTES, MAX_LINE, Entry, text_of
from wire.errors import InvalidArgument, LimitExceeded, Unavailable
from wire.records.lifecycle import LogEntry
from wire.text.escaping import prose

MAX_SEARCHED: Final = 50_000
"""The most entries that one call looks at for a text."""

WAIT_SECONDS: Final = 20.0
"""The time for which a call waits for the next entry: less than a caller waits for its answer."""

MAX_WAITING: Final = 16
"""The most calls that wait at once."""

TOGETHER_SECONDS: Final = 0.1
"""The time after a change of the journal in which further entries are answered together."""

DEFAULT_PRIORITY: Final = 6
"""The priority of an entry that has none."""


class Selection(NamedTuple):
    """The entries to read."""

    units: Sequence[str] = ()
    """Those of processes of these units, and those of systemd about them."""
    slices: Sequence[str] = ()
    """Those of processes of any unit in these slices."""
    priority: int | None = None
    """Only those of this priority or of a more urgent one, which is a lower number."""
    text: str = ""
    """Only those that contain this text, in any case."""


class Reader(Protocol):
    """The part of systemd.journal.Reader that is used here."""

    data_threshold: int

    def add_match(self, *matches: str) -> None:
        """Select entries with these fields."""

    def add_disjunction(self) -> None:
        """Select entries that match the fields before this call, or the fields after it."""

    def seek_tail(self) -> None:
        """Go to the end, after the newest entry."""

    def seek_cursor(self, cursor: str) -> None:
        """Go to an entry."""

    def get_previous(self) -> Entry:
        """Return the previous entry; empty before the oldest."""

    def get_next(self) -> Entry:
        """Return the next entry; empty after the newest."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the journal changes."""

    def process(self) -> int:
        """Take note of a change."""


def _host() -> AbstractContextManager[Reader]:
    flags = journal.LOCAL_ONLY | journal.SYSTEM_ONLY
    return cast(AbstractContextManager[Reader], journal.Reader(flags=flags))


class LogReader:
    """A reader of the host's journal. It reads in threads."""

    def __init__(
        self,
        open: Callable[[], AbstractContextManager[Reader]] = _host,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._open = open
        self._wait_seconds = wait_seconds
        self._waiting = 0

    async def newest(
        self, wanted: Selection, lines: int, before: str | None = None
    ) -> list[LogEntry]:
        """Return the newest entries, oldest first, or the newest before the entry `before`.

        Raises:
            InvalidArgument: `before` is not a cursor.
            Unavailable: the journal cannot be read.
        """

        def read() -> list[LogEntry]:
            with self._opened(wanted) as reader:
                _seek(reader, before)
                return _bounded(_backwards(reader, before), wanted, lines)[::-1]

        return await _in_thread(read)

    async def after(
        self, wanted: Selection, lines: int, cursor: str | None, *, wait: bool
    ) -> list[LogEntry]:
        """Return the oldest entries after the entry `cursor`, oldest first.

        Args:
            wanted: the entries to read.
            lines: the most entries.
            cursor: the entry; None for the end of the journal at the time of the call.
            wait: wait for the next entry if there is none; the answer is empty when none comes in
                time.

        Raises:
            InvalidArgument: `cursor` is not a cursor.
            LimitExceeded: too many calls wait.
            Unavailable: the journal cannot be read.
        """
        if wait and self._waiting >= MAX_WAITING:
            raise LimitExceeded(f"{MAX_WAITING} calls wait for the journal already.")
        self._waiting += wait
        try:
            with self._opened(wanted) as reader:
                await _in_thread(lambda: _seek(reader, cursor, forwards=True))

                def read() -> list[LogEntry]:
                    return _bounded(_forwards(reader, cursor), wanted, lines)

                found = await _in_thread(read)
                if found or not wait:
                    return found
                async with _changes(reader) as changed:
                    try:
                        async with asyncio.timeout(self._wait_seconds):
                            while not found:
                                await changed.wait()
                                # Not a poll: an entry came. Those that follow at once come along.
                                await asyncio.sleep(TOGETHER_SECONDS)
                                changed.clear()
                                found = await _in_thread(read)
                    except TimeoutError:
                        return []
                return found
        finally:
            self._waiting -= wait

    def _opened(self, wanted: Selection) -> AbstractContextManager[Reader]:
        return _Opened(self._open, wanted)


class _Opened(AbstractContextManager[Reader]):
    """A reader of the wanted entries; a journal that cannot be opened is Unavailable."""

    def __init__(
        self, open: Callable[[], AbstractContextManager[Reader]], wanted: Selection
    ) -> None:
        self._wanted = wanted
        try:
            self._reader = open()
        except OSError as error:
            raise _unreadable(error) from None

    def __enter__(self) -> Reader:
        reader = self._reader.__enter__()
        reader.data_threshold = 4 * MAX_LINE
        _match(reader, self._wanted)
        return reader

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(None, None, None)


@asynccontextmanager
async def _changes(reader: Reader) -> AsyncIterator[asyncio.Event]:
    """Provide an event that is set whenever the journal has changed."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    descriptor = reader.fileno()

    def note() -> None:
        reader.process()
        changed.set()

    loop.add_reader(descriptor, note)
    # The descriptor exists only now: an entry may have come since the journal was read.
    changed.set()
    try:
        yield changed
    finally:
        loop.remove_reader(descriptor)


async def _in_thread(read: Callable[[], "list[LogEntry] | None"]) -> "list[LogEntry]":
    try:
        return await asyncio.to_thread(read) or []
    except OSError as error:
        raise _unreadable(error) from None


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(f"The journal cannot be read: {error.strerror}.")


def _match(reader: Reader, wanted: Selection) -> None:
    """Select entries by fields that cannot be forged."""
    groups = [[f"_SYSTEMD_SLICE={one}"] for one in wanted.slices]
    for unit in wanted.units:
        groups += [[f"_SYSTEMD_UNIT={unit}"], ["_PID=1", f"UNIT={unit}"]]
    urgent = [] if wanted.priority is None else range(wanted.priority + 1)
    for group in groups:
        reader.add_match(*group, *(f"PRIORITY={number}" for number in urgent))
        reader.add_disjunction()


def _seek(reader: Reader, cursor: str | None, *, forwards: bool = False) -> None:
    if cursor is None:
        reader.seek_tail()
        if forwards:
            # The next entry after the end of the journal is found only from an entry.
            reader.get_previous()
        return
    try:
        reader.seek_cursor(cursor)
    except (OSError, ValueError):
        raise InvalidArgument(f"{cursor[:64]!r} is not the cursor of an entry.") from None


def _backwards(reader: Reader, before: str | None) -> Iterator[Entry]:
    while entry := reader.get_previous():
        if entry.get("__CURSOR") != before:
            yield entry


def _forwards(reader: Reader, after: str | None) -> Iterator[Entry]:
    while entry := reader.get_next():
        if entry.get("__CURSOR") != after:
            yield entry


def _bounded(entries: Iterator[Entry], wanted: Selection, lines: int) -> list[LogEntry]:
    """Return the first `lines` entries that have the text, within MAX_BYTES and MAX_SEARCHED."""
    found: list[LogEntry] = []
    room, text = MAX_BYTES, wanted.text.casefold()
    for _ in range(MAX_SEARCHED):
        if len(found) == lines or room <= 0:
            break
        if not (entry := next(entries, None)):
            break
        one = _entry(entry)
        if text in f"{one.identifier}: {one.message}".casefold():
            found.append(one)
            room -= len(one.message.encode()) + 200
    return found


def _entry(entry: Entry) -> LogEntry:
    time = cast(datetime, entry["__REALTIME_TIMESTAMP"])
    pid, priority = entry.get("_PID"), entry.get("PRIORITY")
    unit = text_of(entry.get("_SYSTEMD_UNIT", ""))
    # systemd itself speaks about a unit.
    about = text_of(entry.get("UNIT", "")) if pid == 1 else ""
    return LogEntry(
        cursor=text_of(entry.get("__CURSOR", "")),
        time=int(time.timestamp() * 1e6),
        priority=priority if isinstance(priority, int) and 0 <= priority < 8 else DEFAULT_PRIORITY,
        unit=about or unit,
        identifier=prose(text_of(entry.get("SYSLOG_IDENTIFIER", "")), one_line=True)[:64],
        pid=pid if isinstance(pid, int) and 0 <= pid < 2**32 else 0,
        message=prose(text_of(entry.get("MESSAGE", ""))[:MAX_LINE], one_line=True),
    )
