"""A confined git opens nothing but its repositories, and makes no connections."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.quarantine import runner
from services.quarantine.confinement import Confinement
from services.quarantine.runner import Conditions, git, run
from services.quarantine.tests.worktree import WorkTree


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[None]:
    inside = tmp_path / "inside"
    inside.mkdir()
    runner.confine(Confinement([inside]))
    yield
    runner.confine(None)


@pytest.fixture
async def home(tmp_path: Path, confined: None) -> Path:
    """A repository in which `git look ...` runs any program."""
    home = tmp_path / "inside/ours.git"
    await git(home, "init", "--quiet", "--bare", "--template=")
    return home


async def looked(home: Path, program: str, *, confined: bool = True) -> int:
    """Run a program as a fault of git would; return its status."""
    ended = await run(
        home, "-c", f"alias.look=!{program}", "look", conditions=Conditions(confined=confined)
    )
    return ended.status


async def test_it_works_in_its_repositories(home: Path) -> None:
    commit = (await git(home, "commit-tree", "-m", "x", (await _tree(home)))).decode().strip()
    await git(home, "update-ref", "refs/heads/main", commit)
    await git(home, "repack", "-a", "-d", "-q")
    assert (await git(home, "log", "--format=%s", "main")) == b"x\n"


async def _tree(home: Path) -> str:
    return (await git(home, "mktree", stdin=b"")).decode().strip()


async def test_a_secret_beside_them_is_not_read(home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("s\n")
    assert await looked(home, f"cat {secret}", confined=False) == 0
    assert await looked(home, f"cat {secret}") != 0
    assert await looked(home, f"ls {tmp_path}") != 0
    assert await looked(home, f"touch {tmp_path}/x") != 0
    assert await looked(home, "cat /proc/self/environ") != 0


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
async def test_no_socket_is_made(home: Path, family: str) -> None:
    program = f"/usr/bin/python3 -IBc 'import socket; socket.socket(socket.{family})'"
    assert hasattr(socket, family)
    assert await looked(home, program, confined=False) == 0
    assert await looked(home, program) != 0


async def test_a_fetch_from_a_repository_inside(home: Path, tmp_path: Path) -> None:
    other = WorkTree(tmp_path / "inside/other")
    commit = other.commit({"a": "b"})
    await git(home, "fetch", "-q", str(other.path), "main:refs/heads/main")
    assert (await git(home, "rev-parse", "main")).decode().strip() == commit
    outside = WorkTree(tmp_path / "outside")
    outside.commit({"a": "b"})
    assert (await run(home, "fetch", "-q", str(outside.path), "main")).status != 0
