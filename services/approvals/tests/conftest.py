"""Fixtures: a room between stand-ins, and repositories of a hostile manager."""

import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services.approvals.git.repositories import Repositories
from services.approvals.tests.room import Room, memory
from services.quarantine.tests.fixtures import dot_git, good, theirs

__all__ = ["dot_git", "good", "theirs"]


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    """A started room, with no agents and no requests."""
    with TemporaryDirectory(dir=memory()) as directory:
        room = Room(Path(directory) / "approvals.sqlite")
        await room.start()
        yield room
        room.close()


@pytest.fixture
def full_disk() -> Callable[[], AbstractContextManager[None]]:
    """Let no file of this process grow, as on a full disk, within the context."""

    @contextmanager
    def full() -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Set the umask until the end of the test."""
    before = os.umask(0o022)
    yield lambda mask: (os.umask(mask), None)[1]
    os.umask(before)


@pytest.fixture
async def ours(tmp_path: Path) -> Repositories:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Repositories(tmp_path, scratch=scratch)
    await made.prepare()
    await made.create("alice")
    return made
