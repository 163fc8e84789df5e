"""Backups: the files that root takes from the broker's directory, and those that it refuses."""

import os
from pathlib import Path

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host import backups
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive

ROOT = os.geteuid() == 0


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The broker's directory of backups, with one in it."""
    directory = tmp_path / "backups"
    directory.mkdir()
    (directory / "copy").write_bytes(b"all that was said")
    return directory


def test_a_copy_is_moved(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    moved = backups.move(kept / "copy", Path("mine"), kept)
    assert moved == tmp_path / "mine"
    assert moved.read_bytes() == b"all that was said"
    assert moved.stat().st_mode & 0o7777 == 0o600
    assert list(kept.iterdir()) == []


def _refused(source: Path, target: Path, directory: Path) -> CommandError:
    with pytest.raises(CommandError) as raised:
        backups.move(source, target, directory)
    return raised.value


@pytest.mark.parametrize("there", ["file", "link", "dangling"])
def test_nothing_is_overwritten(kept: Path, tmp_path: Path, there: str) -> None:
    other, target = tmp_path / "other", tmp_path / "mine"
    if there != "dangling":
        other.write_text("precious")
    if there == "file":
        target.write_text("precious")
    else:
        target.symlink_to(other)
    with pytest.raises(CommandError, match="is not overwritten"):
        backups.check_free(target)
    assert _refused(kept / "copy", target, kept).code == Exit.CONFLICT
    assert (kept / "copy").exists()
    assert not other.exists() or other.read_text() == "precious"


@pytest.mark.parametrize("planted", ["symlink", "hard link", "pipe", "directory", "missing"])
def test_what_the_broker_planted_is_not_taken(kept: Path, tmp_path: Path, planted: str) -> None:
    secret, copy = tmp_path / "secret", kept / "copy"
    secret.write_text("root's own")
    copy.unlink()
    match planted:
        case "symlink":
            copy.symlink_to(secret)
        case "hard link":
            copy.hardlink_to(secret)
        case "pipe":
            os.mkfifo(copy)
        case "directory":
            copy.mkdir()
    assert _refused(copy, tmp_path / "mine", kept).code == Exit.FAILED
    assert not (tmp_path / "mine").exists()
    assert secret.read_text() == "root's own"


@pytest.mark.skipif(not ROOT, reason="gives a file to another uid: needs root")
def test_a_file_of_somebody_else_is_not_taken(kept: Path, tmp_path: Path) -> None:
    os.chown(kept, 1234, 1234)
    _refused(kept / "copy", tmp_path / "mine", kept)
    os.chown(kept / "copy", 1234, 1234)
    backups.move(kept / "copy", tmp_path / "mine", kept)


@pytest.mark.parametrize("name", ["/etc/shadow", "../secret", "deep/er"])
def test_only_what_lies_in_the_directory_is_taken(kept: Path, tmp_path: Path, name: str) -> None:
    assert "nothing was moved" in str(_refused(kept / name, tmp_path / "mine", kept))


def test_a_directory_that_is_a_link_is_not_entered(kept: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(kept)
    _refused(link / "copy", tmp_path / "mine", link)


def test_a_failure_leaves_no_half_copy(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused = _refused(kept / "copy", tmp_path / "mine", kept)
    assert str(refused).endswith("mine: No space left on device.")
    assert not (tmp_path / "mine").exists()
    assert (kept / "copy").exists()


async def test_backup_says_where_the_copy_is(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("backup")
    assert ran.out == f"backed up to {hive.broker.backup}\n"
    [(_, name)] = hive.broker.calls
    assert name.endswith(".sqlite")
    assert "/" not in name


async def test_backup_looks_before_it_asks(
    hive: FakeHive, hivectl: Hivectl, tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    expected = (Exit.CONFLICT, Exit.NOT_FOUND) if ROOT else (Exit.DENIED, Exit.DENIED)
    for target, code in zip((taken, tmp_path / "no/where"), expected, strict=True):
        assert (await hivectl("backup", str(target))).code == code
    assert hive.broker.calls == []


@pytest.mark.skipif(not ROOT, reason="a restore needs root")
async def test_restore_shows_what_the_tool_says(hivectl: Hivectl, tmp_path: Path) -> None:
    ran = await hivectl("restore", str(tmp_path / "nothing"))
    assert ran.code != Exit.OK
    assert ran.out == ""
    assert ran.err.startswith("hivectl: ")
    assert ran.err.count("\n") == 1


async def test_vacuum_says_how_much(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("vacuum")).out == "deleted 3 records of the broker and 1 of the ledger\n"
    assert (await hivectl("vacuum", "--json")).json == {"deleted": 3, "turns": 1}
