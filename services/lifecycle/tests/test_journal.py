"""Lines of the host's journal about an agent, from a fake reader."""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.lifecycle.host import journal
from services.lifecycle.host.journal import MAX_BYTES, MAX_LINE, Journal, Reader
from wire.errors import Unavailable

NOW = datetime(2030, 1, 31, 8, 0, 1, tzinfo=UTC)


class Entries:
    """A journal of a few entries, oldest first."""

    def __init__(self, *messages: Any) -> None:
        self.data_threshold = 0
        self.matches: list[tuple[str, ...]] = []
        self.at = 0
        self.entries = [
            {"__REALTIME_TIMESTAMP": NOW, "SYSLOG_IDENTIFIER": "x", "MESSAGE": message}
            for message in messages
        ]

    def add_match(self, *matches: str) -> None:
        self.matches.append(matches)

    def add_disjunction(self) -> None:
        self.matches.append(("or",))

    def seek_tail(self) -> None:
        self.at = len(self.entries)

    def get_previous(self) -> dict[str, Any]:
        self.at -= 1
        return self.entries[self.at] if self.at >= 0 else {}

    @contextmanager
    def open(self) -> Iterator[Reader]:
        yield self


async def read(entries: Entries, lines: int = 200) -> list[str]:
    return await Journal(entries.open).newest(["a.service", "b.service"], lines)


async def test_the_newest_lines_oldest_first() -> None:
    entries = Entries("one", "two", "three")
    assert await read(entries, 2) == [
        "2030-01-31T08:00:01Z x: two",
        "2030-01-31T08:00:01Z x: three",
    ]
    assert len(await read(entries)) == 3
    assert await read(Entries()) == []


async def test_only_fields_that_journald_vouches_for_are_matched() -> None:
    entries = Entries()
    await read(entries)
    assert [match for match in entries.matches if match != ("or",)] == [
        ("_SYSTEMD_UNIT=a.service",),
        ("_PID=1", "UNIT=a.service"),
        ("_SYSTEMD_UNIT=b.service",),
        ("_PID=1", "UNIT=b.service"),
    ]
    assert entries.data_threshold > 0


async def test_what_a_container_wrote_does_nothing() -> None:
    evil = "\x1b[2Jgone\nforged line\r\u202egnp.exe\0 \x9b1m\u2028ü \u3164p\u0430y"
    lines = await read(Entries(evil, b"\xff\x1b]0;x\x07", ["twice", "x"], "\udcff", None))
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith(
        "<U+001B>[2Jgone<U+000A>forged line<U+000D><U+202E>gnp.exe<U+0000> <U+009B>1m<U+2028>ü "
        "<U+3164>p<U+0430>y"
    )
    assert lines[2].endswith("twice")


async def test_it_is_bounded_in_bytes() -> None:
    [line] = await read(Entries("x" * 1_000_000))
    assert len(line) < MAX_LINE + 100
    lines = await read(Entries(*["\x1b" * MAX_LINE] * 200))
    assert 0 < sum(len(line) + 1 for line in lines) <= MAX_BYTES
    assert all(text.isprintable() for text in lines)


async def test_the_last_words_of_one_run_are_asked_for_when_they_are_there() -> None:
    entries = Entries()

    async def sync() -> None:
        for line in ("one", "two", "three\x1b"):
            entries.entries += Entries(line).entries

    found = await Journal(entries.open, sync).last_of("b.service", "ab" * 16, 2)
    assert found == ["two", "three<U+001B>"]
    assert entries.matches == [("_SYSTEMD_UNIT=b.service", f"_SYSTEMD_INVOCATION_ID={'ab' * 16}")]


async def test_a_journald_that_cannot_be_asked_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal, "VARLINK", str(tmp_path / "none"))
    await journal.synchronize()
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\0"))
        writer.write(b"{}\0")
        writer.close()

    monkeypatch.setattr(journal, "VARLINK", str(tmp_path / "socket"))
    async with await asyncio.start_unix_server(serve, tmp_path / "socket"):
        await journal.synchronize()
    assert asked == [b'{"method":"io.systemd.Journal.Synchronize"}\0']


async def test_no_journal_is_unavailable() -> None:
    def broken() -> AbstractContextManager[Reader]:
        raise OSError(2, "No such file or directory")

    with pytest.raises(Unavailable, match="No such file"):
        await Journal(broken).newest(["a.service"], 1)


async def test_the_machine_s_own_journal_can_be_asked() -> None:
    try:
        lines = await Journal().newest(["no-such-unit.service"], 5)
    except Unavailable:
        pytest.skip("this machine has no journal")
    assert lines == []
