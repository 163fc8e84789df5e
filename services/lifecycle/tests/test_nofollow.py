"""Writing as root where an agent may have planted links: nothing outside may change."""

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.lifecycle.files.nofollow import SLICE, Directory, remove_below

AGENT = 0x1000_0000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other uids: needs root")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the host with a file that no agent may touch."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "file").write_text("precious")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that the agent owns."""
    folder = tmp_path / "agent"
    folder.mkdir()
    os.chown(folder, AGENT, AGENT)
    return folder


@pytest.fixture
def deep_home() -> Iterator[Path]:
    """A folder for trees that Python's own rmtree cannot remove.

    It is not below pytest's folder: what a killed run left there would break the end of later runs.
    """
    folder = Path(tempfile.mkdtemp(prefix="hive-deep-"))
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def untouched(victim: Path) -> bool:
    owners = {path.stat().st_uid for path in (victim, victim / "file")}
    return (
        [path.name for path in victim.iterdir()] == ["file"]
        and (victim / "file").read_text() == "precious"
        and (owners == {0})
    )


def test_a_file_is_not_written_through_a_link(home: Path, victim: Path) -> None:
    (home / "file").symlink_to(victim / "file")
    with Directory.open(home, owner=AGENT) as tree:
        assert tree.write("file", "mine")
    assert untouched(victim)
    assert (home / "file").read_text() == "mine"
    assert not (home / "file").is_symlink()


def test_a_directory_is_not_entered_through_a_link(home: Path, victim: Path) -> None:
    (home / "etc").symlink_to(victim)
    with Directory.open(home, owner=AGENT) as tree, tree.directory("etc") as etc:
        etc.write("file", "mine")
        etc.make("sub", owner=AGENT)
    assert untouched(victim)
    assert (home / "etc/file").read_text() == "mine"


def test_a_link_is_removed_and_not_its_target(home: Path, victim: Path) -> None:
    (home / "state").mkdir()
    (home / "state/link").symlink_to(victim)
    (home / "gone").symlink_to(victim)
    with Directory.open(home, owner=AGENT) as tree:
        assert tree.remove("gone")
        assert tree.remove("state")
        assert not tree.remove("state")
    assert untouched(victim)


def test_a_root_that_is_a_link_is_refused(home: Path, victim: Path) -> None:
    (home / "link").symlink_to(victim)
    with pytest.raises(OSError), Directory.open(home / "link"):  # noqa: PT011
        pass


def test_a_planted_directory_gives_way_to_a_file(home: Path) -> None:
    (home / "hosts/deep").mkdir(parents=True)
    with Directory.open(home, owner=AGENT) as tree:
        tree.write("hosts", "mine")
    assert (home / "hosts").read_text() == "mine"


def test_a_planted_fifo_does_not_block(home: Path) -> None:
    os.mkfifo(home / "hosts")
    with Directory.open(home, owner=AGENT) as tree:
        tree.write("hosts", "mine")
    assert (home / "hosts").read_text() == "mine"


def test_owner_and_mode_are_put_right(home: Path) -> None:
    (home / "etc").mkdir(mode=0o777)
    with Directory.open(home, owner=AGENT) as tree, tree.directory("etc", mode=0o750) as etc:
        etc.write("shadow", "x", mode=0o600)
        etc.link("link", "shadow")
    for name, mode in (("etc", 0o750), ("etc/shadow", 0o600)):
        status = (home / name).stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (AGENT, AGENT, mode)
    assert (home / "etc/link").lstat().st_uid == AGENT


def test_nothing_is_written_when_nothing_changes(home: Path) -> None:
    with Directory.open(home, owner=AGENT) as tree:
        assert tree.write("file", "one")
        inode = (home / "file").stat().st_ino
        assert not tree.write("file", "one")
        assert (home / "file").stat().st_ino == inode
        assert tree.write("file", "two")
    assert [path.name for path in home.iterdir()] == ["file"], "a temporary file was left behind"


async def test_removing_below_a_missing_parent_is_no_error(tmp_path: Path) -> None:
    assert not await remove_below(tmp_path / "nowhere", "x")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def dig(folder: Path, depth: int) -> None:
    """Nest directories deeper than any path or stack of descriptors can reach."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", 0, dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


async def test_a_tree_of_any_depth_is_removed(deep_home: Path, victim: Path) -> None:
    home = deep_home
    (home / "state/wide").mkdir(parents=True)
    for number in range(3):
        (home / f"state/wide/{number}").mkdir()
        (home / f"state/wide/{number}/link").symlink_to(victim)
    dig(home / "state/wide/1", 5000)
    assert await remove_below(home, "state")
    assert not names_in(home)
    assert untouched(victim)
    (home / "hosts").mkdir()
    dig(home / "hosts", 5000)
    with Directory.open(home, owner=AGENT) as tree:
        tree.write("hosts", "mine")
    assert names_in(home) == ["hosts"]


async def test_removing_much_lets_others_have_their_turn_and_can_be_cancelled(home: Path) -> None:
    (home / "state").mkdir()
    for number in range(5 * SLICE):
        (home / f"state/{number}").touch()
    removal = asyncio.create_task(remove_below(home, "state"))
    await asyncio.sleep(0)
    assert not removal.done(), "the loop had to wait"
    removal.cancel()
    with pytest.raises(asyncio.CancelledError):
        await removal
    assert names_in(home / "state"), "it was not cancelled"
    assert await remove_below(home, "state")
    assert not names_in(home)


def test_one_more_user_passes_through_and_lists_nothing(tmp_path: Path) -> None:
    (tmp_path / "alice/work").mkdir(parents=True)
    changes: list[str] = []

    def may(user: int, call: str) -> bool:
        program = f"import os; os.{call}"
        command = [sys.executable, "-IBc", program]
        return not subprocess.run(
            command, user=user, group=user, pass_fds=[fd], capture_output=True
        ).returncode

    with Directory.open(tmp_path, changes=changes) as agents:
        with agents.directory("alice", mode=0o710, owner=0, group=4242) as own:
            fd = own.fileno()
            pass_through = f"stat('work', dir_fd={fd})"
            assert not may(4343, pass_through)
            own.admit(4343, mode=0o710)
            assert may(4343, pass_through)
            assert may(4242, pass_through), "the group still may"
            assert not may(4343, f"open('.', os.O_RDONLY, dir_fd={fd})")
            assert not may(4344, pass_through)
        changes.clear()
        with agents.directory("alice", mode=0o710, owner=0, group=4242) as own:
            own.admit(4343, mode=0o710)
            assert changes == [], "nothing is to be corrected"
            fd = own.fileno()
            own.admit(None, mode=0o710)
            assert not may(4343, pass_through)
            assert may(4242, pass_through)
