"""The room between stand-ins, for tests that drive it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from services.approvals.tests.room import Room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """Started, with no agents and no requests."""
    room = Room(tmp_path / "approvals.sqlite")
    await room.start()
    yield room
    room.close()


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    """Sets the umask until the end of the test."""
    before = os.umask(0o022)
    yield lambda mask: (os.umask(mask), None)[1]
    os.umask(before)
