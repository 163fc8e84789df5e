"""The endpoint with the MCP inspector's command line (npm), through socat as in containers."""

import asyncio
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from services.endpoint.tests.stage import Hive
from services.endpoint.tests.test_session import EXPECTED
from services.endpoint.tools.tool import Audience

PROGRAM = Path(sys.prefix, "inspector/node_modules/.bin/mcp-inspector")
OLDEST = 18
LIMIT = 120.0


@pytest.fixture(scope="module")
def node() -> str:
    """Return the path of Node.js; skip the test if it is missing or too old."""
    found = shutil.which("node")
    if found is None or not PROGRAM.exists():
        pytest.skip("no MCP inspector: `make bootstrap-tests` installs it")
    version = asyncio.run(_output(found, "--version"))
    number = re.match(r"v(\d+)\.", version)
    if number is None or int(number[1]) < OLDEST:
        pytest.skip(f"the MCP inspector needs Node.js {OLDEST} or newer, not {version.strip()}")
    return found


async def _output(*command: str) -> str:
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LIMIT):
            output, errors = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, errors.decode()
    return output.decode()


async def inspect(node: str, hive: Hive, *arguments: str) -> Any:
    relay = ("socat", "-", f"UNIX-CONNECT:{hive.path}")
    return json.loads(await _output(node, str(PROGRAM), "--cli", *relay, *arguments))


async def test_it_lists_the_tools(node: str, hive: Hive) -> None:
    listed = await inspect(node, hive, "--method", "tools/list")
    assert {tool["name"] for tool in listed["tools"]} == EXPECTED[Audience.AGENT]
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed["tools"])


@pytest.mark.long
async def test_it_calls_a_tool(node: str, hive: Hive) -> None:
    arguments = ["to=bob", "body=hello", "in_reply_to=7"]
    call = ["--method", "tools/call", "--tool-name", "send"]
    for argument in arguments:
        call += ["--tool-arg", argument]
    answer = await inspect(node, hive, *call)
    assert answer["structuredContent"] == {"id": 1}
    [(to, body, options)] = hive.broker.sent
    assert (to, body, options["in_reply_to"]) == ("bob", "hello", 7)


@pytest.mark.long
async def test_it_shows_what_is_wrong(node: str, hive: Hive) -> None:
    call = ["--method", "tools/call", "--tool-name", "cancel", "--tool-arg", "kind=message"]
    answer = await inspect(node, hive, *call)
    assert answer["isError"] is True
    assert "Call it again" in answer["content"][0]["text"]
