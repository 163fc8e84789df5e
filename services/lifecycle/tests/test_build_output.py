"""The output of builds while they run, from a program in the place of journalctl."""

import asyncio
import os
import sys

import pytest

from services.lifecycle.host import build_output
from services.lifecycle.host.build_output import command, followed, read_lines


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


def printing(code: str) -> list[str]:
    return [sys.executable, "-Ic", f"import sys, time, os\nsay = sys.stdout.write\n{code}"]


async def test_lines_come_while_the_program_runs_and_it_ends_with_the_wait() -> None:
    told = Told()
    program = printing("say(f'{os.getpid()}\\none\\n'); sys.stdout.flush(); time.sleep(600)")
    task = asyncio.create_task(read_lines(program, told))
    await told.until("one")
    task.cancel()
    await asyncio.wait((task,))
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.lines[0]), 0)


async def test_what_a_build_prints_does_nothing_to_a_terminal_or_a_page() -> None:
    told = Told()
    written = r"\xff\x1b[2J" + "a" * 700
    await read_lines(printing(f"sys.stdout.buffer.write(b'{written}\\nno end')"), told)
    [line] = told.lines
    assert line.startswith("\ufffd<U+001B>[2Jaaa")
    assert line.isprintable()
    assert len(line) < 600


async def test_a_build_that_ends_soon_needs_no_journalctl(monkeypatch: pytest.MonkeyPatch) -> None:
    told, asked = Told(), []
    monkeypatch.setattr(build_output, "command", lambda *wanted: asked.append(wanted))
    async with followed("hive-build@alice.service", told):
        await asyncio.sleep(0)
    assert (asked, told.lines) == ([], [])


async def test_a_build_that_takes_longer_is_followed_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    monkeypatch.setattr(build_output, "PATIENCE", 0.0)
    monkeypatch.setattr(build_output, "command", lambda unit, since: printing(f"say('{unit}\\n')"))
    async with followed("hive-build@alice.service", told):
        await told.until("hive-build@alice.service")


async def test_a_host_without_journalctl_still_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_output, "PATIENCE", 0.0)
    monkeypatch.setattr(build_output, "command", lambda unit, since: ["/nonexistent"])
    async with followed("hive-build@alice.service", Told()):
        await asyncio.sleep(0.05)


def test_only_the_processes_of_the_unit_are_read() -> None:
    wanted = command("hive-build@alice.service", 12.3)
    assert "_SYSTEMD_UNIT=hive-build@alice.service" in wanted
    assert "--since=@12" in wanted
