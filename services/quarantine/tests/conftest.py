"""Fixtures: a hostile repository, and one of ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.quarantine.tests.ours import Ours
from services.quarantine.tests.worktree import WorkTree


@pytest.fixture
async def ours(tmp_path: Path) -> Ours:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Ours(tmp_path / "ours.git", tmp_path / "proposed/alice", scratch)
    await made.create()
    return made


@pytest.fixture
def theirs(tmp_path: Path, ours: Ours) -> Iterator[WorkTree]:
    yield WorkTree(tmp_path / "proposed/alice")
    assert not list((tmp_path / "scratch").iterdir()), "the quarantine is gone in any case"


@pytest.fixture
def good(theirs: WorkTree) -> str:
    """A valid commit."""
    return theirs.commit({"agent.toml": "a = 1\n"})


@pytest.fixture
def dot_git(theirs: WorkTree) -> Path:
    return theirs.path / ".git"
