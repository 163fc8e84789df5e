"""Fixtures of the tests of lifecycle."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.lifecycle.tests.room import Room


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """A lifecycle without agents, which runs."""
    room = Room(tmp_path)
    await room.open()
    yield room
    await room.close()
