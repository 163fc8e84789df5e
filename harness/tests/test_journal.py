"""The container's own journal, read by a stand-in for journalctl."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from harness.events.journal import MAX_PROCESSES, BusyError, Journal

PROGRAM = """#!/bin/sh
echo "$@" >> {calls}
cat {entries}
case "$*" in *--follow*) echo $$ >> {pids}; exec sleep 60;; esac
"""


def entry(number: int, **fields: Any) -> str:
    known = {"__CURSOR": f"s=1;i={number}", "__REALTIME_TIMESTAMP": "1500000", "_PID": "7"}
    return json.dumps({**known, "MESSAGE": f"line {number}", **fields})


class Program:
    """The stand-in; its entries are those that a test writes."""

    def __init__(self, directory: Path) -> None:
        self.entries, self.calls = directory / "entries", directory / "calls"
        self.pids = directory / "pids"
        self.path = directory / "journalctl"
        self.path.write_text(PROGRAM.format(calls=self.calls, entries=self.entries, pids=self.pids))
        self.path.chmod(0o755)
        self.journal = Journal((str(self.path),))

    def has(self, *entries: str) -> None:
        self.entries.write_text("".join(f"{one}\n" for one in entries))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


async def test_a_page_is_asked_for_from_its_end(program: Program) -> None:
    program.has(entry(3), entry(2), entry(1))  # as --reverse writes them
    found = await program.journal.page(2, priority=4, text="a.b", before="s=1;i=3")
    assert [line["message"] for line in found] == ["line 1", "line 2"]
    assert found[0]["at"] == 1.5
    asked = program.calls.read_text()
    for option in (
        "--reverse",
        "--lines=3",
        "--cursor=s=1;i=3",
        "--priority=4",
        r"--grep=a\.b",
    ):
        assert option in asked


async def test_what_is_no_entry_is_left_out_and_the_rest_is_bounded(program: Program) -> None:
    program.has(
        "no json",
        json.dumps({"__CURSOR": "x"}),
        "x" * (2**20 + 10),
        entry(1, MESSAGE=[104, 105, 255], PRIORITY="3", _SYSTEMD_UNIT="a.service", UNIT="b"),
        entry(2, MESSAGE="y" * 10_000, PRIORITY="99", _PID="1", UNIT="c.service"),
        entry(3, MESSAGE=None),
    )
    last, long, odd = await program.journal.page(200)
    assert (odd["message"], odd["priority"], odd["unit"]) == ("hi\ufffd", 3, "a.service")
    assert (len(str(long["message"])), long["priority"], long["unit"]) == (2048, 6, "c.service")
    assert last["message"] == ""


async def test_lines_are_followed_and_the_program_ends_with_its_reader(program: Program) -> None:
    program.has(entry(2))
    async with asyncio.timeout(60):
        lines = program.journal.follow("s=1;i=1", ping=0.01)
        line = await anext(lines)
        while line is None:
            line = await anext(lines)
        assert line["message"] == "line 2"
        assert await anext(lines) is None  # a sign of life
        assert "--after-cursor=s=1;i=1" in program.calls.read_text()
        await lines.aclose()
    pid = program.pids.read_text().strip()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


async def test_only_some_read_at_once(program: Program) -> None:
    program.has()
    async with asyncio.timeout(60):
        followers = [program.journal.follow(ping=0.01) for _ in range(MAX_PROCESSES)]
        for lines in followers:
            assert await anext(lines) is None
        with pytest.raises(BusyError):
            await program.journal.page(1)
        for lines in followers:
            await lines.aclose()
        assert await program.journal.page(1) == []
