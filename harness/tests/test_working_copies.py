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


class House:
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
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def test_what_is_deployed_has_a_working_copy(house: House) -> None:
    house.deploy("alice", "one", 0)
    await house.copies.update()
    alice = house.agents / "alice"
    assert (alice / "agent.toml").read_text() == "one"
    assert git(alice, "branch", "--show-current") == "main\n"
    assert git(alice, "show", "applied/refs/tags/deployed/0:agent.toml") == "one"
    assert git(alice, "tag") == ""
    assert [p.name for p in house.agents.iterdir()] == ["alice"]

    house.deploy("alice", "two", 1)
    git(alice, "fetch", "-q", "applied")
    assert git(alice, "show", "applied/refs/tags/deployed/1:agent.toml") == "two"
    assert git(alice, "show", "applied/main:agent.toml") == "two"
    assert (alice / "agent.toml").read_text() == "one"


async def test_what_was_never_deployed_has_none(house: House) -> None:
    house.deploy("alice", "one", 1, main=False)
    await house.copies.update()
    assert not list(house.agents.iterdir())


async def test_a_working_copy_is_left_alone_but_for_its_remote(house: House) -> None:
    house.deploy("alice", "one", 0)
    alice = house.agents / "alice"
    git(house.agents, "init", "-q", "-b", "mine", "alice")
    (alice / "notes").write_text("mine")
    git(alice, "remote", "add", "applied", "/somewhere/else")
    await house.copies.update()
    assert [p.name for p in alice.iterdir() if p.name != ".git"] == ["notes"]
    printed = git(alice, "config", "--get-regexp", r"^remote\.applied\.").splitlines()
    assert [tuple(line.split(" ", 1)) for line in printed] == remote_settings(
        house.applied / "alice"
    )
    before = (alice / ".git/config").stat().st_mtime_ns
    await WorkingCopies(house.agents, house.applied).update()
    assert (alice / ".git/config").stat().st_mtime_ns == before


async def test_what_was_interrupted_is_made_again(house: House) -> None:
    house.deploy("alice", "one", 0)
    left = house.agents / ".alice.new"
    git(house.agents, "init", "-q", str(left))
    (left / "rest").write_text("of a clone")
    await house.copies.update()
    assert (house.agents / "alice/agent.toml").read_text() == "one"
    assert not (house.agents / "alice/rest").exists()


async def test_one_that_fails_does_not_keep_back_the_others(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.deploy("alice", "one", 0)
    house.deploy("bob", "two", 0)
    (house.agents / "alice").mkdir()
    (house.agents / "alice/notes").write_text("in the way")
    (house.applied / "carol").mkdir()
    (house.applied / "carol/HEAD").mkdir()
    await house.copies.update()
    assert (house.agents / "bob/agent.toml").read_text() == "two"
    assert (house.agents / "alice/notes").read_text() == "in the way"
    assert "the working copy of" in caplog.text
    assert "carol" in caplog.text


async def test_what_is_new_is_followed(house: House) -> None:
    task = asyncio.create_task(house.copies.run())
    try:
        house.deploy("alice", "one", 0)
        house.applied.touch()  # as approvals do it
        await house.cloned("alice")
        house.deploy("bob", "two", 0)
        house.applied.touch()
        await house.cloned("bob")
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_without_applied_nothing_is_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await WorkingCopies(tmp_path, tmp_path / "none").run()
    assert "cannot be watched" in caplog.text
