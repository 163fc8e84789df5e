"""git is limited, and ended together with its children."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from services.quarantine.runner import Conditions, GitFailed, Limits, git, resolve, run
from wire.errors import Timeout


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    await git(tmp_path / "x", "init", "-q", "--bare")
    return tmp_path / "x"


def shell(words: str) -> tuple[str, ...]:
    """Return arguments by which git runs a shell, as a program that we overlooked."""
    return ("-c", f"alias.x=!{words}", "x")


async def ended(pid: int) -> bool:
    """Wait for the end of a process, which may be a child of somebody else."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        async with asyncio.timeout(10):
            await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


class Told:
    """A pipe in the file system, to which a process writes its pid."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._path = path
        # Also for writing: so nobody has to wait for anybody.
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)

    def __str__(self) -> str:
        return str(self._path)

    async def pid(self) -> int:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._file
        )
        async with asyncio.timeout(10):
            line = await reader.readline()
        transport.close()
        return int(line)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "pid")


async def test_input_and_output(home: Path) -> None:
    name = (await git(home, "hash-object", "-w", "--stdin", stdin=b"x" * 300_000)).decode().strip()
    assert await git(home, "cat-file", "blob", name) == b"x" * 300_000
    with pytest.raises(GitFailed, match=r"^Not a valid object name none$"):
        await git(home, "cat-file", "blob", "none")


async def test_it_ends_when_it_prints_too_much(home: Path) -> None:
    ended = await run(home, *shell("yes"), limit=100_000)
    assert ended.cut
    assert ended.output == (b"y\n" * 50_000)
    with pytest.raises(GitFailed, match="prints more than 10 bytes"):
        await git(home, *shell("yes"), limit=10)


async def test_endless_complaints_are_not_kept(home: Path) -> None:
    with pytest.raises(GitFailed) as caught:
        await git(
            home, *shell("printf '%5000s\\033[2J' x >&2; yes z | head -c 9000000 >&2; false #")
        )
    assert len(str(caught.value)) <= 300
    assert "\x1b" not in str(caught.value)


async def test_a_git_that_is_killed_is_no_answer(home: Path) -> None:
    """The answer of a killed git is unknown; it must not pass for "no such commit"."""
    with pytest.raises(GitFailed, match="was killed by SIGKILL"):
        await run(home, *shell("kill -9 $PPID #"))


async def test_a_repository_that_is_none_is_no_answer(home: Path, tmp_path: Path) -> None:
    assert await resolve(home, "main") is None
    with pytest.raises(GitFailed, match="not a git repository"):
        await resolve(tmp_path / "none", "main")


async def test_it_cannot_be_started(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitFailed, match="git cannot be started: No such file"):
        await resolve(home, "main")


async def test_it_ends_after_its_time_with_what_it_started(home: Path, told: Told) -> None:
    with pytest.raises(Timeout, match=r"did not end within 3 s"):
        await git(home, *shell(f"sleep 100 & echo $! > {told}; wait #"), seconds=3)
    assert await ended(await told.pid())


async def test_its_children_end_also_when_git_is_gone(home: Path, told: Told) -> None:
    words = f"echo $$ > {told}; kill -9 $PPID; sleep 100; true #"
    with pytest.raises(Timeout):
        await git(home, *shell(words), seconds=3)
    assert await ended(await told.pid())


async def test_it_ends_also_when_it_does_not_want_to(home: Path, told: Told) -> None:
    words = f"trap '' TERM; echo $$ > {told}; while :; do sleep 100; done #"
    with pytest.raises(Timeout):
        await git(home, *shell(words), seconds=3)
    assert await ended(await told.pid())


async def test_cancelled_it_leaves_nothing(home: Path, told: Told) -> None:
    words = f"sleep 100 & echo $! > {told}; wait #"
    task = asyncio.create_task(git(home, *shell(words)))
    pid = await told.pid()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await ended(pid)


async def test_it_ends_whenever_it_is_cancelled(home: Path) -> None:
    """asyncio.create_subprocess_exec, when cancelled, waits for children that hold the pipes."""
    for steps in range(30):
        task = asyncio.create_task(git(home, *shell("sleep 100 & wait #")))
        for _ in range(steps):
            await asyncio.sleep(0.0003)
        task.cancel()
        async with asyncio.timeout(20):
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_its_limits(home: Path) -> None:
    limits = (await git(home, *shell("ulimit -a #"))).decode()
    wanted = {"v": 512 * 1024, "t": 20, "c": 0, "f": 256 * 2048}
    for letter, value in wanted.items():
        found = (await git(home, *shell(f"ulimit -{letter} #"))).decode().strip()
        assert found == str(value), limits


async def test_its_surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("SECRET", "x")
    found = (await git(home, *shell("env #"))).decode()
    assert "SECRET" not in found
    assert "HOME=/nonexistent\n" in found
    assert "GIT_NO_REPLACE_OBJECTS=1\n" in found
    assert "/nowhere" not in found
    assert (await git(home, *shell("umask #"))).strip() == b"0022"
    listed = (await git(home, "config", "--list", "--show-origin", "--name-only")).decode()
    origins = {line.split("\t")[0] for line in listed.splitlines()}
    assert {Path(origin.removeprefix("file:")).name for origin in origins} <= {
        "gitconfig",
        "config",
    }


async def test_nothing_from_afar(home: Path) -> None:
    for url in ("http://127.0.0.1:9/x", "ssh://127.0.0.1/x", "git://127.0.0.1/x", "ext::true"):
        with pytest.raises(GitFailed, match="not allowed"):
            await git(home, "fetch", url)


async def test_it_does_not_ask(home: Path) -> None:
    before = time.monotonic()
    with pytest.raises(GitFailed):
        await git(home, *shell("git credential fill #"), stdin=b"protocol=https\nhost=x\n\n")
    assert time.monotonic() - before < 10
    assert os.environ.get("GIT_TERMINAL_PROMPT") is None


async def test_other_conditions(home: Path) -> None:
    limits = Limits(memory=2**30, file=2**20, processor=7)
    conditions = Conditions(limits, {"LC_ALL": "C", "EXTRA": "x"})
    script = "ulimit -v; ulimit -f; ulimit -t; ulimit -c; echo $LC_ALL $EXTRA $HOME #"
    found = (await git(home, *shell(script), conditions=conditions)).decode().split()
    assert found == [str(2**20), str(2048), "7", "0", "C", "x", "/nonexistent"]


async def test_lines_are_heard_as_they_come(home: Path) -> None:
    lines: list[str] = []
    words = "printf 'one\\rtwo\\r\\nthr' >&2; printf 'ee\\nrest' >&2; exit 3 #"
    ended = await run(home, *shell(words), heard=lines.append)
    assert lines == ["one", "two", "three"]
    assert (ended.status, ended.complaints) == (3, "one\rtwo\r\nthree\nrest")


async def test_a_line_without_end_is_not_kept(home: Path) -> None:
    lines: list[str] = []
    await run(
        home, *shell("yes | tr -d '\\n' | head -c 3000000 >&2; echo >&2 #"), heard=lines.append
    )
    assert [len(line) for line in lines] == [500]
