"""On a terminal: colours, widths, questions, Ctrl-C, and a reader that leaves."""

import asyncio
import contextlib
import os
import pty
import signal
import sys
import termios
from collections.abc import AsyncIterator

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import module_of
from hivectl.tests.fake_agent import COMMIT
from hivectl.tests.fake_approvals import BASE
from hivectl.tests.fake_hive import FakeHive
from wire.records.approvals import ApprovalOptions
from wire.records.broker import MessageState

TIME_LIMIT = 20.0


class Terminal:
    """hivectl on a pseudo-terminal; its output is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._shown = b""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self._shown += data
        self._news.set()

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(TIME_LIMIT):
            while text.encode() not in self._shown:
                await self._news.wait()
                self._news.clear()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def end(self) -> tuple[int, str]:
        code = await asyncio.wait_for(self.process.wait(), TIME_LIMIT)
        return code, self._shown.decode()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


@contextlib.asynccontextmanager
async def terminal(
    environment: dict[str, str], *arguments: str, columns: str = "0", **extra: str
) -> AsyncIterator[Terminal]:
    """Run hivectl; its terminal has `columns`, which $COLUMNS overrides unless it is empty."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, int(columns)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module_of(environment), *arguments),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment | {"TERM": "xterm", "COLUMNS": "60"} | extra,
        start_new_session=True,
    )
    os.close(slave)
    shown = Terminal(process, master)
    try:
        yield shown
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        shown.close()


async def test_states_are_coloured(hive: FakeHive, environment: dict[str, str]) -> None:
    async with terminal(environment, "list") as shown:
        await shown.shows("\x1b[32mrunning\x1b[0m")


@pytest.mark.parametrize("extra", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_colours_can_be_refused(
    hive: FakeHive, environment: dict[str, str], extra: dict[str, str]
) -> None:
    async with terminal(environment, "list", **extra) as shown:
        await shown.shows("manager")
        code, text = await shown.end()
    assert (code, "\x1b" in text) == (Exit.OK, False)


async def test_a_long_body_is_wrapped_with_its_indent(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    hive.broker.queue("alice", "x" * 58 + "2 from operator at 12:00")
    async with terminal(environment, "inbox") as shown:
        await shown.shows("\r\n  2 from operator")


async def test_a_table_fits_the_terminal(hive: FakeHive, environment: dict[str, str]) -> None:
    hive.broker.queue("alice", "long " * 100)
    async with terminal(environment, "history", NO_COLOR="1", COLUMNS="80") as shown:
        await shown.shows("…")
        _, text = await shown.end()
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("columns", [60, 200])
async def test_the_width_is_that_of_the_terminal(
    hive: FakeHive, environment: dict[str, str], columns: int
) -> None:
    hive.broker.queue("alice", "long " * 100)
    async with terminal(
        *(environment, "history"), columns=str(columns), COLUMNS="", NO_COLOR="1"
    ) as shown:
        await shown.shows("…")
        _, text = await shown.end()
    assert columns - 10 < max(map(len, text.splitlines())) <= columns


async def test_destroy_asks(hive: FakeHive, environment: dict[str, str]) -> None:
    async with terminal(environment, "destroy", "alice") as shown:
        await shown.shows(
            "Destroy alice (only /state, /work, its login and its configuration are kept)? [y/N]:"
        )
        shown.type("n\n")
        code, text = await shown.end()
    assert code == Exit.FAILED
    assert "Nothing was done." in text
    assert hive.lifecycle.calls == []
    async with terminal(environment, "destroy", "alice", "--purge") as shown:
        await shown.shows("Destroy alice and all its data?")
        shown.type("y\n")
        await shown.shows("alice: destroy done")
    assert hive.lifecycle.calls == [("purge", True), ("destroy", "alice")]


async def test_drop_asks(hive: FakeHive, environment: dict[str, str]) -> None:
    for _ in range(3):
        hive.broker.queue("alice", "lost", to="bob-2", state=MessageState.DEAD)
    async with terminal(environment, "drop", "2", "3") as shown:
        await shown.shows("Drop 2 dead letters? Dropped messages are never delivered. [y/N]:")
        shown.type("n\n")
        code, text = await shown.end()
    assert (code, hive.broker.calls) == (Exit.FAILED, [])
    assert "Nothing was done." in text
    async with terminal(environment, "drop", "2") as shown:
        await shown.shows("Drop dead letter 2?")
        shown.type("y\n")
        await shown.shows("message 2 dropped")
    assert hive.broker.calls == [("drop", 2)]


async def test_purge_inbox_asks(hive: FakeHive, environment: dict[str, str]) -> None:
    async with terminal(environment, "purge-inbox", "alice", "--from", "bob") as shown:
        await shown.shows("Drop all messages from bob that wait in the inbox of alice?")
        shown.type("n\n")
        code, text = await shown.end()
    assert (code, hive.broker.calls) == (Exit.FAILED, [])
    assert "Nothing was done." in text


async def test_what_was_searched_for_is_in_view(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    hive.broker.queue("alice", "hay " * 100 + "the Needle in it " + "hay " * 100)
    async with terminal(environment, "search", "xyz", '"needle"', COLUMNS="100") as shown:
        await shown.shows("Needle")


async def test_what_takes_long_shows_progress_and_ctrl_c_ends_it(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    hive.lifecycle.ends = False
    async with terminal(environment, "start", "alice") as shown:
        await shown.shows("starting alice …")
        os.killpg(shown.process.pid, signal.SIGINT)
        code, text = await shown.end()
    assert code == Exit.INTERRUPTED
    assert "Traceback" not in text


async def test_a_reader_that_leaves_is_no_reason_to_complain(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    for _ in range(500):
        hive.broker.queue("alice", "long " * 1000)
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hivectl", "history", "--full"),
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    os.close(writing)
    os.close(reading)
    _, err = await asyncio.wait_for(process.communicate(), TIME_LIMIT)
    assert (process.returncode, err) == (Exit.READER_LEFT, b"")


async def test_a_diff_has_colours(hive: FakeHive, environment: dict[str, str]) -> None:
    async with terminal(environment, "diff", "7") as shell:
        _, shown = await shell.end()
    assert "\x1b[1m+++ b/agent.toml\x1b[0m" in shown
    assert '\x1b[31m-model = "a"\x1b[0m' in shown
    assert '\x1b[32m+model = "b"\x1b[0m' in shown


@pytest.mark.parametrize(
    ("answer", "code"), [("y", Exit.OK), ("n", Exit.FAILED), ("", Exit.FAILED)]
)
async def test_a_request_is_shown_before_it_is_approved(
    hive: FakeHive, environment: dict[str, str], answer: str, code: Exit
) -> None:
    [request, *_] = hive.approvals.requests
    # A title that the terminal wraps could look like a line of hivectl's.
    title = f"{'x' * 58}  commit {'0' * 40}\nthe rest"
    hive.approvals.requests = [request._replace(reason=title)]
    async with terminal(environment, "approve", "7", "--json") as shown:
        await shown.shows("Approve request 7, spawn of carol at 0123456789ab? [y/N]: ")
        assert hive.approvals.calls == []
        shown.type(f"{answer}\n")
        ended, text = await shown.end()
    assert f"  commit {COMMIT}\r\n" in text
    assert "agent.toml | +1 -1\r\n  `hivectl diff 7` shows all of it\r\n" in text
    assert "0" * 40 not in text
    yes = ("approve", 7, COMMIT, ApprovalOptions(BASE))
    assert (ended, hive.approvals.calls) == (code, [yes] if answer == "y" else [])


async def test_a_request_that_is_denied_on_a_terminal_is_shown(
    hive: FakeHive, environment: dict[str, str]
) -> None:
    async with terminal(environment, "deny", "7") as shown:
        await shown.shows("Deny request 7, spawn of carol at 0123456789ab? [y/N]: ")
        shown.type("y\n")
        await shown.shows("request 7 denied")
    assert hive.approvals.calls == [("deny", 7, COMMIT, "", "the operator")]
