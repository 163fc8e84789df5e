"""shell, exec, copy-to and copy-from: the real program of the container, and a hostile one."""

import asyncio
import io
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hivectl.commands.inside import _Printed
from hivectl.exit_codes import CommandError, Exit
from hivectl.host import execute as container
from hivectl.output.text import safe
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.records.lifecycle import AgentState

SERVE = (
    "import socket, sys; from harness import execute;"
    "execute.serve(socket.socket(fileno=int(sys.argv[1])))"
)


@asynccontextmanager
async def listening(folder: Path, answer: Callable[[socket.socket], Any]) -> AsyncIterator[None]:
    """Listen on alice's exec.sock; `answer` gets each connection."""
    (folder / "alice").mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "alice/exec.sock"))
        listener.listen()
        listener.setblocking(False)
        loop = asyncio.get_running_loop()

        async def accept() -> None:
            while True:
                connection, _ = await loop.sock_accept(listener)
                with connection:
                    connection.setblocking(True)
                    await asyncio.to_thread(answer, connection)

        task = asyncio.create_task(accept())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
    (folder / "alice/exec.sock").unlink()


def real(connection: socket.socket) -> None:
    """Serve a connection as the container does, in a process of its own."""
    line = [sys.executable, "-B", "-c", SERVE, str(connection.fileno())]
    subprocess.run(line, pass_fds=[connection.fileno()], check=False)


def says(*frames: tuple[int, bytes]) -> Callable[[socket.socket], None]:
    """Return a container that answers any command with these frames."""

    def answer(connection: socket.socket) -> None:
        connection.recv(container.HEAD.size)
        for kind, content in frames:
            connection.sendall(container.HEAD.pack(kind, len(content)) + content)

    return answer


@pytest.fixture
def folder(tmp_path: Path, environment: dict[str, str]) -> Path:
    environment["WEB_DIRECTORY"] = str(tmp_path)
    return tmp_path


async def test_exec_passes_everything_on(hive: FakeHive, hivectl: Hivectl, folder: Path) -> None:
    async with listening(folder, real):
        script = "cat; echo oh >&2; exit 5"
        ran = await hivectl("exec", "alice", "sh", "-c", script, stdin=b"typed\n")
        assert (ran.code, ran.out, ran.err) == (5, "typed\n", "oh\n")
        assert (await hivectl("exec", "alice", "--", "echo", "--", "x")).out == "-- x\n"
        assert (await hivectl("exec", "alice", "--")).code == Exit.USAGE
        piped = await hivectl("shell", "alice", stdin=b"echo $((6*7))\n")
        assert (piped.code, piped.out) == (0, "42\n")


async def test_without_a_container_it_says_why(
    hive: FakeHive, hivectl: Hivectl, folder: Path
) -> None:
    ran = await hivectl("exec", "alice", "true")
    assert ran.code == Exit.UNAVAILABLE
    assert "hivectl start alice" in ran.err
    hive.lifecycle.agents["alice"].show(state=AgentState.STOPPED)
    ran = await hivectl("exec", "alice", "true")
    assert (ran.code, ran.err) == (
        Exit.UNAVAILABLE,
        "hivectl: alice is stopped. Start it: hivectl start alice\n",
    )
    assert (await hivectl("exec", "alcie", "true")).err.endswith("Did you mean alice?\n")


async def test_a_directory_goes_there_and_back(
    hive: FakeHive, hivectl: Hivectl, folder: Path, tmp_path: Path
) -> None:
    source, inside = tmp_path / "a ü", tmp_path / "inside"
    (source / "deep").mkdir(parents=True)
    inside.mkdir()
    (source / "deep/file").write_bytes(os.urandom(300_000))
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o4755)
    (source / "link").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe")
    async with listening(folder, real):
        ran = await hivectl("copy-to", "alice", str(source), str(inside))
        assert (ran.code, ran.out) == (Exit.OK, f"{source} copied to {inside} of alice\n")
        assert "pipe is neither a file nor a directory" in ran.err
        there = inside / "a ü"
        assert (there / "deep/file").read_bytes() == (source / "deep/file").read_bytes()
        assert (there / "run").stat().st_mode & 0o7777 == 0o755
        again = await hivectl("copy-to", "alice", str(source), str(inside))
        assert (again.code, "exists already" in again.err) == (Exit.CONFLICT, True)
        back = tmp_path / "back"
        ran = await hivectl("copy-from", "alice", str(there), str(back), "--json")
        assert ran.code == Exit.OK, ran.err
        assert (ran.json["files"], ran.json["repository"]) == (2, None)
        assert (back / "deep/file").read_bytes() == (source / "deep/file").read_bytes()
        assert not (back / "link").is_symlink()
        assert "git runs" not in ran.err
        # git would run the programs that an agent's configuration of a repository names.
        (inside / "work/.git").mkdir(parents=True)
        (inside / "work/.git/HEAD").touch()
        ran = await hivectl("copy-from", "alice", str(inside / "work"), str(tmp_path / "work"))
        assert f"git runs the programs that {tmp_path}/work/.git/config names" in ran.err
        # Into a directory, the second time.
        codes = [(await hivectl("copy-from", "alice", str(there), str(back))).code for _ in "12"]
        assert codes == [Exit.OK, Exit.CONFLICT]
        (source / "run").write_text("new\n")
        await hivectl("copy-to", "alice", str(source / "run"), str(there / "run"), "--force")
        forced = await hivectl("copy-from", "alice", str(there), str(back), "--force")
        assert (forced.code, (back / "a ü/run").read_text()) == (Exit.OK, "new\n")
        # Nothing here says which name the copy would get.
        nameless = await hivectl("copy-from", "alice", "..", str(back), "--force")
        assert (nameless.code, (back / "a ü/run").read_text()) == (Exit.USAGE, "new\n")
        missing = await hivectl("copy-from", "alice", str(tmp_path / "none"), str(tmp_path / "x"))
        assert (missing.code, "does not exist" in missing.err) == (Exit.NOT_FOUND, True)
    assert [name for name in os.listdir(tmp_path) if name[0] == "."] == []  # noqa: PTH208


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(9, b"x")], Exit.FAILED),
        ([(container.OUTPUT, b"x" * (container.MAX_FRAME + 1))], Exit.FAILED),
        ([(container.OUTPUT, b"no archive")], Exit.FAILED),
        ([], Exit.UNAVAILABLE),
        (
            [(container.ERRORS, HOSTILE.encode()), (container.END, struct.pack(">I", 3))],
            Exit.NOT_FOUND,
        ),
    ],
)
async def test_a_hostile_container_leaves_nothing(
    hive: FakeHive,
    hivectl: Hivectl,
    folder: Path,
    frames: list[tuple[int, bytes]],
    code: Exit,
) -> None:
    async with listening(folder, says(*frames)):
        ran = await hivectl("copy-from", "alice", "x", str(folder / "got"))
    assert ran.code in (code, Exit.UNAVAILABLE)
    assert_harmless(ran.err)
    assert ran.err.count("\n") == 1
    assert [name for name in os.listdir(folder) if "got" in name] == []  # noqa: PTH208


@pytest.mark.parametrize("numbers", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
@pytest.mark.parametrize("reads", [True, False])
def test_a_container_that_ignores_signals_does_not_keep_hivectl(
    numbers: list[signal.Signals], reads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "END_SECONDS", 0.1)
    monkeypatch.setattr(container, "SEND_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    command = container.Command(ours, "alice")
    with theirs, open("/dev/zero", "rb") as zeros:  # noqa: PTH123
        if not reads:
            command.feed(zeros.fileno())
        with container.passed_signals(command):
            for number in numbers:
                signal.raise_signal(number)
            with pytest.raises(CommandError, match="was cut off") as raised:
                command.run(print, print)
        assert raised.value.code == Exit.INTERRUPTED
        if reads:
            assert theirs.recv(6) == container.HEAD.pack(container.SIGNAL, 1) + bytes(numbers[:1])
        command.close()


class Terminal(io.StringIO):
    """A stream that a terminal shows."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["p\u0430ypal.com $ ", "e" + "\u0301" * 9, f"\u6f22 {HOSTILE}"])
def test_the_pieces_of_an_output_do_not_matter(text: str) -> None:
    sent = text.encode()
    for size in range(1, len(sent)):
        shown = Terminal()
        printed = _Printed(shown)
        for at in range(0, len(sent), size):
            printed.write(sent[at : at + size])
        printed.end()
        assert shown.getvalue() == safe(text, multiline=True)
