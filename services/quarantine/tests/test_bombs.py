"""Objects that are small to write and large to read: each is refused soon."""

import random
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.quarantine import runner
from services.quarantine.bounds import DEFAULT
from services.quarantine.runner import HOSTILE
from services.quarantine.tests.objects import (
    commit,
    entry,
    name_of,
    tree,
    write_loose,
    write_pack,
    write_raw,
    zeros,
)
from services.quarantine.tests.ours import Ours, refused
from services.quarantine.tests.worktree import WorkTree
from wire.errors import HiveError, LimitExceeded, Timeout

SOON = 60.0
"""Seconds, on a busy machine; each takes a few at most."""


@pytest.fixture
def git(theirs: WorkTree) -> Path:
    return theirs.path / ".git"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    before = time.monotonic()
    yield
    assert time.monotonic() - before < SOON


async def test_a_single_object_that_unpacks_to_gigabytes(ours: Ours, good: str, git: Path) -> None:
    size = 4 * 2**30
    bomb = name_of("blob", b"x")
    write_raw(git, bomb, zeros(size // 2**20, f"blob {size}\0".encode()))
    of = write_loose(git, "tree", tree(("100644", "agent.toml", bomb)))
    found = write_loose(git, "commit", commit(of))
    assert "cannot be fetched" in await refused(ours, found)
    assert await ours.fetch(good) == good


async def test_many_such_objects(ours: Ours, good: str, git: Path) -> None:
    data = zeros(64, b"blob 1\0")
    for number in range(40):
        write_raw(git, f"{number:040x}", data)
    assert "more than 256 MiB, unpacked" in await refused(ours, good)


def test_they_are_what_git_takes_for_objects(theirs: WorkTree, git: Path) -> None:
    size = 64 * 2**20
    name = write_pack(git, [entry("blob", size, zeros(64))])
    theirs.git("index-pack", f".git/objects/pack/{name}")
    write_raw(git, "1" * 40, zeros(64, f"blob {size}\0".encode()))
    assert theirs.git("cat-file", "-s", name_of("blob", bytes(size))) == str(size)
    assert theirs.git("cat-file", "-s", "1" * 40) == str(size)


async def test_a_pack_that_unpacks_to_gigabytes(ours: Ours, good: str, git: Path) -> None:
    write_pack(git, [entry("blob", 4 * 2**30, zeros(4 * 2**10))])
    assert "memory" in await refused(ours, good)


@pytest.mark.parametrize("said", [2**20, 2**40])
async def test_a_pack_that_lies_about_a_size(ours: Ours, good: str, git: Path, said: int) -> None:
    write_pack(git, [entry("blob", said, zeros(64))])
    assert "is not valid" in await refused(ours, good)


@pytest.mark.long
async def test_a_pack_of_many_large_objects(ours: Ours, good: str, git: Path) -> None:
    """Each object fits into memory, but all together take much processor time."""
    ours.bind(seconds=2.0)
    one = entry("blob", 200 * 2**20, zlib.compress(bytes(200 * 2**20), 9))
    write_pack(git, [one] * 100)
    with pytest.raises(Timeout, match=r"within 2 s"):
        await ours.fetch(good)


async def test_a_pack_that_promises_many_objects(ours: Ours, good: str, git: Path) -> None:
    write_pack(git, [entry("blob", 0, zlib.compress(b""))], count=2**32 - 1)
    assert "is not valid" in await refused(ours, good)


async def test_a_file_that_is_larger_than_the_disk(ours: Ours, good: str, git: Path) -> None:
    with (git / f"objects/pack/pack-{'1' * 40}.pack").open("wb") as file:
        file.truncate(2**40)
    assert "more than 64 MiB of objects" in await refused(ours, good)


async def test_many_files(ours: Ours, good: str, git: Path) -> None:
    for number in range(DEFAULT.files):
        (git / "objects/pack" / f"x{number}").touch()
    assert "more than 20000 files" in await refused(ours, good)


async def test_many_packs(ours: Ours, good: str, git: Path) -> None:
    for number in range(DEFAULT.packs + 1):
        (git / f"objects/pack/pack-{number:040x}.pack").touch()
    assert "more than 50 packs" in await refused(ours, good)


async def test_a_commit_that_brings_much(ours: Ours, theirs: WorkTree) -> None:
    theirs.commit({"agent.toml": ""})
    for number in range(3):
        found = theirs.commit({f"f{number}": random.Random(number).randbytes(8_000_000)})
        theirs.git("rm", "-q", f"f{number}")
    assert "add 22 MiB" in await refused(ours, found)
    first = await ours.fetch(theirs.git("rev-parse", "HEAD~1"))
    await ours.keep(first)
    assert await ours.fetch(found) == found


async def test_many_small_objects_are_too_much(ours: Ours, theirs: WorkTree, good: str) -> None:
    """git holds the names of all objects in memory, and the objects are kept for ever."""
    await ours.keep(await ours.fetch(good))
    ours.bind(new_objects=6)
    many = theirs.commit({f"{number}": f"{number}" for number in range(5)})
    with pytest.raises(LimitExceeded, match="add 7 objects; at most"):
        await ours.fetch(many)
    ours.bind(new_objects=7)
    assert await ours.fetch(many) == many


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"files": 1}, "more than 1 files of objects"),
        ({"size": 2**20}, "more than 1 MiB of objects"),
        ({"unpacked": 2**20}, "more than 1 MiB, unpacked, of objects"),
        ({"single": 2**20}, "cannot be fetched"),
        ({"new": 2**20}, "at most 1 MiB may be added"),
        ({"step_seconds": 0.0}, "did not end within 0 s"),
        ({"limits": HOSTILE._replace(file=2**16)}, "cannot be fetched"),
    ],
)
async def test_each_use_has_its_own_bounds(
    ours: Ours, theirs: WorkTree, bounds: dict[str, Any], said: str
) -> None:
    found = theirs.commit({"large": random.Random(1).randbytes(2**21)})
    ours.bind(**bounds)
    with pytest.raises(HiveError, match=said):
        await ours.fetch(found)
    ours.bind()
    assert await ours.fetch(found) == found


async def test_packs_are_not_held_in_memory_whole(ours: Ours) -> None:
    """Otherwise thirty packs of 20 MiB exhaust git's memory, and no commit can be taken."""
    home = ours.home
    assert int(await runner.git(home, "config", "--type=int", "core.packedGitWindowSize")) <= 2**20
    assert int(await runner.git(home, "config", "--type=int", "core.packedGitLimit")) <= 2**26
