"""The output of builds while they run, from a journal that tests write."""

import asyncio
import time

import pytest

from services.lifecycle.host import build_output
from services.lifecycle.host.build_output import followed
from services.lifecycle.host.log_reader import LogReader, Selection
from wire.errors import Unavailable
from wire.records.lifecycle import LogEntry

UNIT = "hive-build@alice.service"


class FakeReader(LogReader):
    """A journal of entries; it says who asks for which."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.asked: list[Selection] = []
        self.broken = False
        self.failed = asyncio.Event()
        self._newer = asyncio.Event()

    def write(self, message: str, *, pid: int = 7, at: int = 0) -> None:
        when = at or time.time_ns() // 1000
        number = len(self.entries)
        self.entries.append(LogEntry(str(number), when, 6, UNIT, "hive-build", pid, message))
        self._newer.set()

    async def newest(
        self, wanted: Selection, lines: int, before: str | None = None
    ) -> list[LogEntry]:
        self.asked.append(wanted)
        if self.broken:
            self.failed.set()
            raise Unavailable("The journal cannot be read: no.")
        return self.entries[-lines:]

    async def after(
        self, wanted: Selection, lines: int, cursor: str | None, *, wait: bool
    ) -> list[LogEntry]:
        first = int(cursor) + 1 if cursor else 0
        while not self.entries[first:]:
            self._newer.clear()
            await self._newer.wait()
        return self.entries[first : first + lines]


class Told:
    """The lines so far, and the wait for them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._newer = asyncio.Event()

    def __call__(self, lines: list[str]) -> None:
        self.lines += lines
        self._newer.set()

    async def until(self, line: str) -> None:
        async with asyncio.timeout(20):
            while line not in self.lines:
                self._newer.clear()
                await self._newer.wait()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Follow each build at once."""
    monkeypatch.setattr(build_output, "PATIENCE", 0.01)
    monkeypatch.setattr(build_output, "PACE", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_the_lines_of_this_build_come_while_it_runs() -> None:
    reader, told = FakeReader(), Told()
    reader.write("an earlier build", at=1)
    async with followed(UNIT, told, reader):
        reader.write("Starting hive-build@alice.service", pid=1)
        reader.write("Get:1 jq")
        await told.until("Get:1 jq")
        reader.write("Get:2 " + "x" * 700)
        reader.write("Unpacking jq")
        await told.until("Unpacking jq")
    reader.write("after the end")
    await asyncio.sleep(0)
    assert [line[:12] for line in told.lines] == ["Get:1 jq", "Get:2 xxxxxx", "Unpacking jq"]
    assert max(map(len, told.lines)) == build_output.MAX_LINE
    assert reader.asked == [Selection(units=(UNIT,))]


async def test_the_output_of_a_build_that_ends_soon_is_not_read() -> None:
    reader, told = FakeReader(), Told()
    async with followed(UNIT, told, reader):
        await asyncio.sleep(0)
    assert (reader.asked, told.lines) == ([], [])


@pytest.mark.usefixtures("at_once")
async def test_a_host_whose_journal_cannot_be_read_still_builds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = FakeReader()
    reader.broken = True
    async with asyncio.timeout(20), followed(UNIT, Told(), reader):
        await reader.failed.wait()
    assert "cannot follow the output of hive-build@alice.service" in caplog.text
