"""A repository that changes while it is copied: by its owner's git, or by somebody hostile."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.quarantine import object_copy
from services.quarantine.tests.ours import Ours
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError, InvalidArgument

_SWAP = """
import os, sys
name, other = sys.argv[1:]
print("begun", flush=True)
while True:
    os.rename(name, name + "1")
    os.symlink(other, name)
    os.rename(name, name + "2")
    os.rename(name + "1", name)
    os.unlink(name + "2")
"""
_REPACK = """
import subprocess, sys
print("begun", flush=True)
while True:
    subprocess.run(["git", "-C", sys.argv[1], "repack", "-adq"], check=True)
    subprocess.run(["git", "-C", sys.argv[1], *sys.argv[2:]], check=True)
"""


@contextlib.contextmanager
def meanwhile(program: str, *arguments: str) -> Iterator[None]:
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"begun\n"
            yield
            assert process.poll() is None, "it went on all the time"
        finally:
            process.kill()


async def test_its_owner_packs_it_without_end(ours: Ours, theirs: WorkTree) -> None:
    for number in range(8):
        last = theirs.commit({"agent.toml": f"a = {number}\n"})
    change = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-mx"]
    wanted = theirs.git("rev-list", "HEAD").split()
    with meanwhile(_REPACK, str(theirs.path), *change):
        for commit in reversed(wanted):
            assert await ours.fetch(commit) == commit
    assert await ours.read(last, "agent.toml") == "a = 7\n"


async def test_single_objects_that_are_gone_when_they_are_opened(
    ours: Ours, theirs: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = theirs.commit({"agent.toml": "a = 1\n"})
    folders = [theirs.path / f".git/objects/{number:02x}" for number in range(256)]
    empty, other = [folder for folder in folders if not folder.exists()][:2]
    single = other / ("0" * 38)
    empty.mkdir()
    other.mkdir()
    single.touch()
    listing = object_copy.ObjectCopy.entries
    gone: list[str] = []

    def vanishing(self: object_copy.ObjectCopy, folder: int) -> Iterator[str]:
        for name in listing(self, folder):
            if name == empty.name:
                empty.rmdir()
                gone.append(name)
            elif name == single.name:
                single.unlink()
                gone.append(name)
            yield name

    monkeypatch.setattr(object_copy.ObjectCopy, "entries", vanishing)
    assert await ours.fetch(commit) == commit
    assert len(gone) == 2


async def test_a_pack_that_is_gone_when_it_is_opened(
    ours: Ours, theirs: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = theirs.commit({"agent.toml": "a = 1\n"})
    theirs.git("repack", "-adq")
    reading = object_copy.ObjectCopy.read
    gone: list[str] = []

    def vanishing(self: object_copy.ObjectCopy, folder: int, name: str) -> bytes | None:
        if name.endswith(".pack") and len(gone) < 2:
            gone.append(name)
            return None
        return reading(self, folder, name)

    monkeypatch.setattr(object_copy.ObjectCopy, "read", vanishing)
    assert await ours.fetch(commit) == commit
    assert len(gone) == 2
    other = theirs.commit({"agent.toml": "a = 2\n"})
    monkeypatch.setattr(object_copy.ObjectCopy, "read", lambda *_: None)
    with pytest.raises(InvalidArgument, match="is repacking the repository"):
        await ours.fetch(other)


@pytest.mark.parametrize("what", ["", ".git", ".git/objects"])
async def test_somebody_swaps_it_for_a_link(
    ours: Ours, theirs: WorkTree, tmp_path: Path, what: str
) -> None:
    secret = WorkTree(tmp_path / "secret")
    hidden = secret.commit({"agent.toml": "password\n"})
    theirs.commit({"agent.toml": "a = 1\n"})
    with meanwhile(_SWAP, str(theirs.path / what).rstrip("/"), str(secret.path / what)):
        for _ in range(10):
            with pytest.raises(HiveError):
                await ours.fetch(hidden)


async def test_a_file_that_grows_while_it_is_read(
    ours: Ours, theirs: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the bytes that the file had when it was examined are read."""
    commit = theirs.commit({"agent.toml": "a = 1\n"})
    theirs.git("repack", "-adq")
    [pack] = theirs.path.glob(".git/objects/pack/*.pack")
    pack.chmod(0o644)
    looking, number = os.fstat, pack.stat().st_ino
    grown = []

    def growing(descriptor: int) -> os.stat_result:
        status = looking(descriptor)
        if status.st_ino == number:
            grown.append(descriptor)
            with pack.open("ab") as file:
                file.write(bytes(2**20))
        return status

    monkeypatch.setattr(os, "fstat", growing)
    assert await ours.fetch(commit) == commit
    assert grown


async def test_the_quarantine_is_removed_beside_the_event_loop(
    ours: Ours, theirs: WorkTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, threads = shutil.rmtree, []

    def removed(*arguments: Any, **options: Any) -> None:
        threads.append(threading.current_thread())
        remove(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", removed)
    await ours.fetch(theirs.commit({"agent.toml": "a = 1\n"}))
    assert threads
    assert threading.main_thread() not in threads
