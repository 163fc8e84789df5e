"""Fixtures of a hostile repository, for each room that takes commits from one.

The conftest of a room imports them. They need its fixture `ours`, which makes the room's own
repository and the directory `scratch` for quarantines.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.quarantine.tests.worktree import WorkTree


@pytest.fixture
def theirs(tmp_path: Path, ours: Any) -> Iterator[WorkTree]:
    """Return the repository that an agent can change."""
    yield WorkTree(tmp_path / "proposed/alice")
    assert not list((tmp_path / "scratch").iterdir()), "the quarantine is gone in any case"


@pytest.fixture
def good(theirs: WorkTree) -> str:
    """Return a valid commit."""
    return theirs.commit({"agent.toml": "a = 1\n"})


@pytest.fixture
def dot_git(theirs: WorkTree) -> Path:
    """Return the git directory of `theirs`."""
    return theirs.path / ".git"
