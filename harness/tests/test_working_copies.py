"""The manager's working copies, with a real git."""

import asyncio
import subprocess
from pathlib import Path

import pytest

from harness.inotify import DirectoryWatch
from harness.working_copies import WorkingCopies, remote_settings


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Folders:
    """The folder /applied as approvals writes it, and /agents."""

    def __init__(self, folder: Path) -> None:
        self.agents, self.applied, self.work = (
            folder / name for name in ("agents", "applied", "work")
        )
        for path in (self.agents, self.applied, self.work):
            path.mkdir()
        self.copies = WorkingCopies(self.agents, self.applied)

    def deploy(self, name: str, text: str, number: int, main: bool = True) -> None:
        applied, work = self.applied / name, self.work / name
        if not work.exists():
            git(self.applied, "init", "-q", "--bare", name)
            git(self.work, "init", "-q", "-b", "main", name)
        (work / "agent.toml").write_text(text)
        git(work, "add", ".")
        git(work, "commit", "-qm", text)
        tag = f"HEAD:refs/tags/{'deployed' if main else 'proposal'}/{number}"
        git(work, "push", "-q", str(applied), tag, *(["HEAD:refs/heads/main"] if main else []))

    async def cloned(self, name: str) -> None:
        """Wait until there is a working copy of `name`."""
        with DirectoryWatch(self.agents) as watch:
            while not (self.agents / name).exists():
                assert await watch.change(10)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


async def test_what_is_deployed_has_a_working_copy(folders: Folders) -> None:
    folders.deploy("alice", "one", 0)
    await folders.copies.update()
    alice = folders.agents / "alice"
    assert (alice / "agent.toml").read_text() == "one"
    assert git(alice, "branch", "--show-current") == "main\n"
    assert git(alice, "show", "applied/refs/tags/deployed/0:agent.toml") == "one"
    assert git(alice, "tag") == ""
    assert [p.name for p in folders.agents.iterdir()] == ["alice"]

    folders.deploy("alice", "two", 1)
    git(alice, "fetch", "-q", "applied")
    assert git(alice, "show", "applied/refs/tags/deployed/1:agent.toml") == "two"
    assert git(alice, "show", "applied/main:agent.toml") == "two"
    assert (alice / "agent.toml").read_text() == "one"


async def test_what_was_never_deployed_has_none(folders: Folders) -> None:
    folders.deploy("alice", "one", 1, main=False)
    await folders.copies.update()
    assert not list(folders.agents.iterdir())


async def test_a_working_copy_is_left_alone_but_for_its_remote(folders: Folders) -> None:
    folders.deploy("alice", "one", 0)
    alice = folders.agents / "alice"
    git(folders.agents, "init", "-q", "-b", "mine", "alice")
    (alice / "notes").write_text("mine")
    git(alice, "remote", "add", "applied", "/somewhere/else")
    await folders.copies.update()
    assert [p.name for p in alice.iterdir() if p.name != ".git"] == ["notes"]
    printed = git(alice, "config", "--get-regexp", r"^remote\.applied\.").splitlines()
    assert [tuple(line.split(" ", 1)) for line in printed] == remote_settings(
        folders.applied / "alice"
    )
    before = (alice / ".git/config").stat().st_mtime_ns
    await WorkingCopies(folders.agents, folders.applied).update()
    assert (alice / ".git/config").stat().st_mtime_ns == before


async def test_what_was_interrupted_is_made_again(folders: Folders) -> None:
    folders.deploy("alice", "one", 0)
    left = folders.agents / ".alice.new"
    git(folders.agents, "init", "-q", str(left))
    (left / "rest").write_text("of a clone")
    await folders.copies.update()
    assert (folders.agents / "alice/agent.toml").read_text() == "one"
    assert not (folders.agents / "alice/rest").exists()


async def test_one_that_fails_does_not_keep_back_the_others(
    folders: Folders, caplog: pytest.LogCaptureFixture
) -> None:
    folders.deploy("alice", "one", 0)
    folders.deploy("bob", "two", 0)
    (folders.agents / "alice").mkdir()
    (folders.agents / "alice/notes").write_text("in the way")
    (folders.applied / "carol").mkdir()
    (folders.applied / "carol/HEAD").mkdir()
    await folders.copies.update()
    assert (folders.agents / "bob/agent.toml").read_text() == "two"
    assert (folders.agents / "alice/notes").read_text() == "in the way"
    assert "the working copy of" in caplog.text
    assert "carol" in caplog.text


async def test_what_is_new_is_followed(folders: Folders) -> None:
    task = asyncio.create_task(folders.copies.run())
    try:
        folders.deploy("alice", "one", 0)
        folders.applied.touch()  # as approvals do it
        await folders.cloned("alice")
        folders.deploy("bob", "two", 0)
        folders.applied.touch()
        await folders.cloned("bob")
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_without_applied_nothing_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await WorkingCopies(tmp_path, tmp_path / "none").run()
    assert "cannot be watched" in caplog.text
