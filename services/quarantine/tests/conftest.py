"""Fixtures: a hostile repository, and one of ours."""

from pathlib import Path

import pytest

from services.quarantine.tests.fixtures import dot_git, good, theirs
from services.quarantine.tests.ours import Ours

__all__ = ["dot_git", "good", "theirs"]


@pytest.fixture
async def ours(tmp_path: Path) -> Ours:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Ours(tmp_path / "ours.git", tmp_path / "proposed/alice", scratch)
    await made.create()
    return made
