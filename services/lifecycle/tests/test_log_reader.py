"""Pages of the host's journal, and waiting for its next line, from a fake reader."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from services.lifecycle.host.log_reader import MAX_WAITING, LogReader, Reader, Selection
from wire.errors import InvalidArgument, LimitExceeded, Unavailable

NOW = datetime(2030, 1, 31, 8, 0, 1, tzinfo=UTC)
ALL = Selection(units=["a.service"])


class Entries:
    """A journal of a few entries, whose place is that of the one reader."""

    def __init__(self, *messages: str) -> None:
        self.data_threshold = 0
        self.matches: list[tuple[str, ...]] = []
        self.at = 0
        self.entries: list[dict[str, Any]] = []
        self.reading, self.writing = os.pipe()
        for message in messages:
            self.write(message)

    def write(self, message: str, **fields: Any) -> None:
        number = len(self.entries)
        entry = {"__REALTIME_TIMESTAMP": NOW, "__CURSOR": f"c{number}", "SYSLOG_IDENTIFIER": "x"}
        self.entries.append({**entry, "MESSAGE": message, "_SYSTEMD_UNIT": "a.service", **fields})
        os.write(self.writing, b".")

    def add_match(self, *matches: str) -> None:
        self.matches.append(matches)

    def add_disjunction(self) -> None: ...

    def seek_tail(self) -> None:
        self.at = len(self.entries)

    def seek_cursor(self, cursor: str) -> None:
        if not cursor.startswith("c"):
            raise OSError(22, "Invalid argument")
        self.at = int(cursor[1:])

    def get_previous(self) -> dict[str, Any]:
        # As in the journal: after a search, the entry itself may come first.
        self.at -= 1
        return self.entries[self.at] if self.at >= 0 else {}

    def get_next(self) -> dict[str, Any]:
        if self.at >= len(self.entries):
            return {}
        self.at += 1
        return self.entries[self.at - 1]

    def fileno(self) -> int:
        return self.reading

    def process(self) -> int:
        os.read(self.reading, 4096)
        return 1

    @contextmanager
    def open(self) -> Iterator[Reader]:
        self.matches = []
        yield self


async def test_pages_go_back_and_have_what_was_asked_for() -> None:
    entries = Entries("one", "two", "Three", "four")
    reader = LogReader(entries.open)
    newest = await reader.newest(ALL, 2)
    assert [line.message for line in newest] == ["Three", "four"]
    older = await reader.newest(ALL, 2, newest[0].cursor)
    assert [line.message for line in older] == ["one", "two"]
    assert await reader.newest(ALL, 2, older[0].cursor) == []
    found = await reader.newest(ALL._replace(text="three"), 5)
    assert [(line.message, line.unit, line.identifier) for line in found] == [
        ("Three", "a.service", "x")
    ]
    with pytest.raises(InvalidArgument, match="not the cursor"):
        await reader.newest(ALL, 2, "wrong")


async def test_only_fields_that_journald_vouches_for_are_matched() -> None:
    entries = Entries()
    wanted = Selection(units=["a.service"], slices=["s.slice"], priority=1)
    await LogReader(entries.open).newest(wanted, 1)
    assert entries.matches == [
        ("_SYSTEMD_SLICE=s.slice", "PRIORITY=0", "PRIORITY=1"),
        ("_SYSTEMD_UNIT=a.service", "PRIORITY=0", "PRIORITY=1"),
        ("_PID=1", "UNIT=a.service", "PRIORITY=0", "PRIORITY=1"),
    ]


async def test_a_line_of_systemd_is_about_the_unit_and_others_cannot_say_so() -> None:
    entries = Entries()
    entries.write("Started.", _PID=1, UNIT="b.service", PRIORITY=5)
    entries.write("Forged\x1b.", _PID=7, UNIT="b.service", PRIORITY=99)
    real, forged = await LogReader(entries.open).newest(ALL, 5)
    assert (real.unit, real.pid, real.priority) == ("b.service", 1, 5)
    assert (forged.unit, forged.priority) == ("a.service", 6)
    assert forged.message == "Forged<U+001B>."


async def test_a_call_waits_for_the_next_line_and_answers_at_once_with_it() -> None:
    entries = Entries("one")
    reader = LogReader(entries.open)
    async with asyncio.timeout(60):
        assert await reader.after(ALL, 5, "c0", wait=False) == []
        waiting = asyncio.create_task(reader.after(ALL, 5, "c0", wait=True))
        await asyncio.sleep(0)
        entries.write("two")
        assert [line.message for line in await waiting] == ["two"]
        again = await reader.after(ALL, 5, "c0", wait=True)
        assert [line.message for line in again] == ["two"]


async def test_a_call_waits_no_longer_than_its_caller() -> None:
    reader = LogReader(Entries("one").open, wait_seconds=0.01)
    assert await reader.after(ALL, 5, "c0", wait=True) == []


async def test_only_some_calls_wait_at_once() -> None:
    async with asyncio.timeout(60):
        reader = LogReader(Entries("one").open)
        waiting = [
            asyncio.create_task(reader.after(ALL, 5, "c0", wait=True)) for _ in range(MAX_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(LimitExceeded):
            await reader.after(ALL, 5, "c0", wait=True)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await reader.after(ALL, 5, "c0", wait=False) == []


async def test_the_real_journal_is_read_and_waited_for() -> None:
    reader = LogReader(wait_seconds=0.3)
    wanted = Selection(units=["no-such-unit.service"], slices=["no-such.slice"])
    try:
        assert await reader.newest(wanted, 5) == []
        assert await reader.after(wanted, 5, None, wait=True) == []
    except Unavailable:
        pytest.skip("this machine has no journal")
