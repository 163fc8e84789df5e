"""More MCP servers for the agent, from /etc/hyperhive/extra-mcp.json of the container.

The image or the operator puts the file there; agent.toml names the agent's own servers. Nothing in
the file keeps the harness from running: what is wrong is left out, with a warning.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from harness.config import Config
from harness.jsonvalues import Json, JsonObject
from harness.prompts import own_file

FILE: Final = "extra-mcp.json"

RESERVED: Final = frozenset({"hive", "hyperhive"})
"""The servers of the hive and of the harness."""

MAX_BYTES: Final = 256 * 1024

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TOOL: Final = re.compile(r"\*|[A-Za-z0-9_.-]{1,128}")
_KEYS: Final = frozenset({"command", "args", "env", "allowedTools"})


def merge(config: Config, path: Path) -> tuple[Config, list[str]]:
    """Return `config` with the servers of the file, and the warnings.

    A server of agent.toml takes precedence over one of the file with the same name.
    """
    warnings: list[str] = []
    servers: dict[str, JsonObject] = {}
    for name, server in config.mcp_servers.items():
        if name in RESERVED:
            warnings.append(_reserved(f"agent.toml: the MCP server {name!r}"))
        else:
            servers[name] = server
    allowed = dict(config.mcp_allowed)
    for name, server in _read(path, warnings).items():
        if problem := _problem(name, server):
            warnings.append(f"{path}: the MCP server {name[:64]!r} {problem}")
        elif name in RESERVED:
            warnings.append(_reserved(f"{path}: the MCP server {name!r}"))
        elif name in servers:
            warnings.append(
                f"{path}: the MCP server {name!r} is left out: agent.toml has one with this name"
            )
        else:
            allowed[name] = server.get("allowedTools", ["*"])
            servers[name] = {key: value for key, value in server.items() if key != "allowedTools"}
    return replace(config, mcp_servers=servers, mcp_allowed=allowed), warnings


def _read(path: Path, warnings: list[str]) -> JsonObject:
    """Return the servers in the file; none if there is no such file or it is not valid."""
    text = own_file.read(path, MAX_BYTES + 1)
    if not text:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as exc:
        warnings.append(f"{path}: there are no extra MCP servers: it is not valid JSON: {exc}")
        return {}
    if isinstance(data, dict) and set(data) == {"mcpServers"}:
        data = data["mcpServers"]
    if not isinstance(data, dict):
        warnings.append(f"{path}: there are no extra MCP servers: it must be an object of servers")
        return {}
    return data


def _problem(name: str, server: Json) -> str | None:
    """Return why a server is left out; None if it is valid."""
    if not _NAME.fullmatch(name):
        return "is left out: its name has other characters than A-Z a-z 0-9 _ -, or is too long"
    if not isinstance(server, dict):
        return "is left out: it must be an object with the key command"
    if unknown := sorted(set(server) - _KEYS):
        return f"is left out: there is no key {unknown[0][:64]!r}; use {', '.join(sorted(_KEYS))}"
    command, args = server.get("command"), server.get("args", [])
    if not isinstance(command, str) or not command:
        return "is left out: command must be a string"
    if not isinstance(args, list) or not all(isinstance(part, str) for part in args):
        return "is left out: args must be a list of strings"
    environment, tools = server.get("env", {}), server.get("allowedTools", ["*"])
    if not isinstance(environment, dict) or not all(
        re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key) and isinstance(value, str)
        for key, value in environment.items()
    ):
        return "is left out: env must be an object of strings"
    if not isinstance(tools, list) or not all(
        isinstance(tool, str) and _TOOL.fullmatch(tool) for tool in tools
    ):
        return "is left out: allowedTools must be a list of names of tools, or of *"
    return None


def _reserved(which: str) -> str:
    return f"{which} is left out: hive and hyperhive are the hive's own; use another name"
