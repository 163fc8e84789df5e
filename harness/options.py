"""How Claude Code is started: tools, permissions, environment. No permission is skipped."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.claude import SERVER
from harness.config import Config, Paths, credentials
from harness.group import Group
from harness.prompt import PROMPTS, system_prompt

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

SETTINGS: Final = PROMPTS / "settings.json"

TOOL_CALL: Final = 600.0
"""Seconds that one call of a tool may take."""


def maker(
    config: Config, paths: Paths, group: Group | None, stderr: Callable[[str], None]
) -> "Callable[[str | None], ClaudeAgentOptions]":
    """A function that makes the options for a start; it looks for credentials each time.

    `group`: what commands run in, if groups can be made.
    """
    settings = settings_of(config)
    prompt = system_prompt(config)

    def options(resume: str | None) -> "ClaudeAgentOptions":
        from claude_agent_sdk import ClaudeAgentOptions

        return ClaudeAgentOptions(
            system_prompt=prompt,
            tools=built_in_tools(settings),
            permission_mode="dontAsk",
            settings=json.dumps(settings),
            setting_sources=[],
            strict_mcp_config=True,
            mcp_servers=mcp_servers(config, paths),
            # What others wrote must not be expanded: no @path, no /command in a message.
            verbatim_prompts=True,
            model=config.model,
            resume=resume,
            cwd=paths.state,
            env=(group.environment if group else {}) | environment(config, paths),
            stderr=stderr,
            max_buffer_size=64 * 1024 * 1024,
        )

    return options


def settings_of(config: Config) -> dict[str, Any]:
    """settings.json, with what this agent may use besides; of its own servers that is all."""
    settings: dict[str, Any] = json.loads(SETTINGS.read_text(encoding="utf-8"))
    servers = [f"mcp__{name}" for name in config.mcp_servers]
    settings["permissions"]["allow"] += [*config.allowed_tools, *servers]
    return settings


def built_in_tools(settings: dict[str, Any]) -> list[str]:
    """The built-in tools that the settings allow; all others are not even shown to the model."""
    rules = settings["permissions"]["allow"]
    tools = [rule.partition("(")[0] for rule in rules if not rule.startswith("mcp__")]
    return list(dict.fromkeys(tools))


def mcp_servers(config: Config, paths: Paths) -> dict[str, Any]:
    """The relay to the hive, and this agent's own servers, by name."""
    own = {
        name: {"type": "http" if "url" in server else "stdio", **server}
        for name, server in config.mcp_servers.items()
    }
    relay = {
        "type": "stdio",
        "command": "socat",
        "args": ["-", f"UNIX-CONNECT:{paths.socket}"],
    }
    return {**own, SERVER: relay}


def environment(config: Config, paths: Paths) -> dict[str, str]:
    """What is set for Claude Code above the unit's own environment."""
    milliseconds = str(int(min(config.turn_timeout, TOOL_CALL) * 1000))
    return {
        "HOME": os.environ.get("HOME", "/root"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        # What runs in the background ends with the turn: nobody may be promised to hear of its end.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
        "MCP_TOOL_TIMEOUT": milliseconds,
        "BASH_DEFAULT_TIMEOUT_MS": milliseconds,
        "BASH_MAX_TIMEOUT_MS": milliseconds,
        **config.environment,
        **credentials(config, paths).environment,
    }


def memory(state: Path) -> Path:
    """The file that remembers the session's id."""
    return state / "hyperhive-session-id"
