"""What the endpoint does not load before it listens. The bench has the figures: bench/endpoint."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

LIMIT = 30

_LOADED = """
import json, sys
import services.agent.__main__
from services.agent.tools import TOOLS
built = sorted({tool.arguments.__name__ for tool in TOOLS if tool.arguments.__pydantic_complete__})
json.dump({"modules": sorted(sys.modules), "built": built}, sys.stdout)
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """The modules of a fresh process that is about to serve, and the models it has built."""
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
    assert "services.agent.endpoint" in loaded["modules"]
    assert module not in loaded["modules"]


def test_it_builds_no_model_before_a_tool_is_listed_or_called(loaded: dict[str, list[str]]) -> None:
    assert loaded["built"] == []
