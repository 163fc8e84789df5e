"""The examples of docs/agents.md for other programs, executed."""

import asyncio
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.endpoint.tests.client import LIMIT
from services.endpoint.tests.stage import Hive
from services.endpoint.tests.test_session import EXPECTED
from services.endpoint.tools.messages import Receive
from services.endpoint.tools.tool import Audience

MANUAL = (Path(__file__).parents[3] / "docs/agents.md").read_text()
SOCKET = "/run/hive/mcp.sock"


def examples() -> list[tuple[dict[str, Any], float]]:
    """Return each program's entry for the hive, and the time limit of its calls in seconds."""
    [toml] = re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)
    [text] = re.findall(r"```json\n(.*?)```", MANUAL, re.DOTALL)
    codex = tomllib.loads(toml)["mcp_servers"]["hive"]
    gemini = json.loads(text)["mcpServers"]["hive"]
    return [(codex, codex["tool_timeout_sec"]), (gemini, gemini["timeout"] / 1000)]


@pytest.mark.parametrize(("entry", "seconds"), examples(), ids=["codex", "gemini"])
async def test_the_command_of_each_example_speaks_to_the_hive(
    hive: Hive, entry: dict[str, Any], seconds: float
) -> None:
    longest = Receive.model_fields["wait_seconds"].metadata[1].le
    assert seconds > longest
    arguments = [argument.replace(SOCKET, str(hive.path)) for argument in entry["args"]]
    assert arguments != entry["args"]
    relay = await asyncio.create_subprocess_exec(
        entry["command"], *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert relay.stdin is not None
    assert relay.stdout is not None
    hello: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize"}
    hello["params"] = {"protocolVersion": "2025-06-18"}
    relay.stdin.write(json.dumps(hello).encode() + b"\n")
    async with asyncio.timeout(LIMIT):
        answer = json.loads(await relay.stdout.readline())
        relay.stdin.close()
        await relay.wait()
    assert answer["result"]["protocolVersion"] == "2025-06-18"


def test_it_names_every_tool_that_a_model_has() -> None:
    section = MANUAL.split("## Tools")[1].split("##")[0]
    named = set(re.findall(r"`([a-z_]+)`", section))
    assert named >= EXPECTED[Audience.MANAGER]
