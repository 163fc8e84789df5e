"""git, as the harness runs it: no hook runs, and no git hangs."""

import os
from pathlib import Path

import pytest

from harness.git import GitError, git, run
from harness.tests.conftest import ended
from harness.tests.upstream import git as plain


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    plain(tmp_path, "init", "-q", "-b", "main", str(tmp_path))
    (tmp_path / "file").write_text("one\n")
    plain(tmp_path, "add", "file")
    plain(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def program(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_no_hook_of_a_repository_runs(repository: Path) -> None:
    trap = repository / "trap"
    program(repository / ".git/hooks/post-checkout", f"touch {trap}")
    program(repository / "monitor", f"touch {trap}")
    plain(repository, "config", "core.fsmonitor", str(repository / "monitor"))
    await git("-C", str(repository), "checkout", "-q", "-b", "topic")
    await git("-C", str(repository), "status")
    assert not trap.exists()


async def test_a_git_that_hangs_is_killed_with_its_programs(repository: Path) -> None:
    """A filter waits for a pipe into which nobody writes."""
    pipe, pid = repository / "pipe", repository / "pid"
    os.mkfifo(pipe)
    program(repository / "filter", f"echo $$ > {pid}; exec cat {pipe}")
    plain(repository, "config", "filter.wait.clean", str(repository / "filter"))
    (repository / ".gitattributes").write_text("file filter=wait\n")
    (repository / "file").write_text("two\n")
    with pytest.raises(GitError, match=r"git add took longer than 2 s"):
        await git("-C", str(repository), "add", "--all", seconds=2)
    try:
        descriptor = os.pidfd_open(int(pid.read_text()))
    except ProcessLookupError:
        return
    await ended(descriptor)


@pytest.mark.parametrize("errors", ["the pipe of git", "/dev/null"])
async def test_a_program_does_not_outlive_its_git(repository: Path, errors: str) -> None:
    """A filter leaves a program in the background, which waits for a pipe."""
    pipe, pid = repository / "pipe", repository / ".git/pid"
    os.mkfifo(pipe)
    away = "2>/dev/null" if errors == "/dev/null" else ""
    script = f"cat {pipe} >/dev/null {away} & echo $! > {pid}; exec cat"
    program(repository / ".git/filter", script)
    plain(repository, "config", "filter.leave.clean", str(repository / ".git/filter"))
    (repository / ".gitattributes").write_text("file filter=leave\n")
    (repository / "file").write_text("two\n")
    add = git("-C", str(repository), "add", "file", seconds=60 if away else 4)
    if away:
        await add
    else:
        with pytest.raises(GitError, match=r"git add took longer than 4 s"):
            await add
    try:
        descriptor = os.pidfd_open(int(pid.read_text()))
    except ProcessLookupError:
        return
    await ended(descriptor)


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
async def test_a_word_that_no_program_can_get_is_a_failure(word: str) -> None:
    with pytest.raises(GitError, match=r"^git cannot be started: .+"):
        await git("rev-parse", word)


async def test_a_failure_says_why_on_one_line(repository: Path) -> None:
    with pytest.raises(GitError, match=r"^fatal: .*unknown revision") as failed:
        await git("-C", str(repository), "log", "none")
    assert "\n" not in str(failed.value)
    assert await git("-C", str(repository), "log", "none", fails=(128,)) == ""
    assert (await run("-C", str(repository), "log", "none")).status == 128
