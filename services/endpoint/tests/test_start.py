"""The modules that the endpoint loads before it listens, and its memory; see bench/endpoint."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from services.endpoint.tests.client import Client
from services.endpoint.tests.process import MIB, endpoint, services

LIMIT = 30

_LOADED = """
import json, sys
import services.endpoint.__main__
from services.endpoint.tools.table import TOOLS
built = sorted({tool.arguments.__name__ for tool in TOOLS if tool.arguments.__pydantic_complete__})
json.dump({"modules": sorted(sys.modules), "built": built}, sys.stdout)
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Return the modules of a new process before it serves, and the models that it has built."""
    return asyncio.run(_load())


async def _load() -> dict[str, list[str]]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LOADED),
        cwd=Path(__file__).parents[3],
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(LIMIT):
        output, _ = await child.communicate()
    found: dict[str, list[str]] = json.loads(output)
    return found


@pytest.mark.parametrize(
    "module",
    [
        *("services.config", "tomllib"),  # the endpoint has no configuration
        *("wire.server", "wire.interface", "wire.resolver"),  # it exports nothing
        *("importlib.metadata", "email", "zipfile"),  # pydantic's, when it builds a model
        *("aiohttp", "click", "git", "sqlite3", "mcp"),
    ],
)
def test_it_does_not_load(loaded: dict[str, list[str]], module: str) -> None:
    assert "services.endpoint.server" in loaded["modules"]
    assert module not in loaded["modules"]


def test_it_builds_no_model_before_a_tool_is_listed_or_called(loaded: dict[str, list[str]]) -> None:
    assert loaded["built"] == []


async def test_it_needs_less_than_40_mb(bus_address: str, tmp_path: Path) -> None:
    async with services(bus_address), endpoint(bus_address, tmp_path) as process:
        assert process.resident() < 40_000_000
        streams = await asyncio.open_unix_connection(process.path, limit=4 * MIB)
        client = await Client(*streams).initialize()
        await client.ask("tools/list")
        for _ in range(5):
            sent = await client.call("send", to="bob", body="x" * MIB)
            assert "isError" not in sent
        # This includes what pydantic loads for the first model, and memory that malloc keeps.
        assert process.resident() < 50_000_000
        client.writer.close()
