from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.endpoint.tests.stage import Hive, stage
from wire.fixtures import Connect


@pytest.fixture
async def hive(connect: Connect, tmp_path: Path) -> AsyncIterator[Hive]:
    """Run the endpoint of alice, with fake services."""
    async with stage(await connect(), await connect(), tmp_path, "alice") as hive:
        yield hive


@pytest.fixture
async def managers_hive(connect: Connect, tmp_path: Path) -> AsyncIterator[Hive]:
    """Run the endpoint of the manager, with fake services."""
    async with stage(await connect(), await connect(), tmp_path, "manager") as hive:
        yield hive
