"""The options of Claude Code: tools, permissions, environment. No permission check is skipped."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from harness.claude.calls import names_tool
from harness.claude.cgroup import Cgroup
from harness.claude.choices import Choices
from harness.claude.permissions import ASKABLE, QUESTIONS, Permissions
from harness.claude.start_files import StartFiles
from harness.config import Config, Paths, credentials
from harness.jsonvalues import JsonObject
from harness.projects.project import working_directory
from harness.prompts.prompt import PROMPTS
from harness.tools.server import NAME, OwnTools

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, HookCallback, HookMatcher
    from claude_agent_sdk.types import HookEvent

SETTINGS: Final = PROMPTS / "settings.json"

TOOL_TIMEOUT: Final = 600.0
"""Seconds that a call of a tool may take."""


def factory(
    config: Config,
    paths: Paths,
    groups: tuple[Cgroup | None, Cgroup | None],
    choices: Choices,
    stderr: Callable[[str], None],
    own_tools: OwnTools | None = None,
    permissions: Permissions | None = None,
) -> "Callable[[str | None], ClaudeAgentOptions]":
    """Return a function that creates the options for a start, with the credentials of that time.

    Args:
        config: the configuration of the agent.
        paths: the paths in the container.
        groups: the control groups of a turn's commands and of Claude Code, if there are any.
        choices: the operator's choices of model and effort.
        stderr: called with each line that Claude Code writes to standard error.
        own_tools: the tools of the harness itself.
        permissions: decides about calls that no rule allows; None: they are denied.
    """
    settings = settings_of(config)
    files = StartFiles(paths.runtime)

    def options(resume: str | None) -> "ClaudeAgentOptions":
        from claude_agent_sdk import ClaudeAgentOptions

        commands, own = (group.path if group else None for group in groups)
        directory = working_directory(config, paths)
        files.write(config, settings, relay(paths), commands, own, paths.state, paths.work)
        return ClaudeAgentOptions(
            cli_path=str(files.claude),
            system_prompt={"type": "file", "path": str(files.prompt)},
            tools=built_in_tools(settings, ASKABLE if config.permissions == "ask" else ()),
            permission_mode="default" if permissions and asks(config) else "dontAsk",
            can_use_tool=permissions.decide if permissions and asks(config) else None,
            hooks=_hooks(permissions) if permissions and config.mcp_servers else None,
            settings=str(files.settings),
            setting_sources=[],
            strict_mcp_config=True,
            mcp_servers={NAME: own_tools.server()} if own_tools else {},
            # The agent's page shows the text while the model writes it.
            include_partial_messages=True,
            model=choices.model or config.model,
            effort=choices.effort,
            resume=resume,
            cwd=directory,
            env={"CLAUDE_CODE_SHELL": str(files.bash)} | environment(config, paths),
            extra_args={
                # Otherwise a resumed session keeps its first prompt until it is compacted.
                "system-prompt-snapshot": "off",
                "mcp-config": str(files.servers),
            },
            stderr=stderr,
            max_buffer_size=64 * 1024 * 1024,
        )

    return options


def settings_of(config: Config) -> JsonObject:
    """Return settings.json with the additional tools of this agent, and all of its own servers."""
    settings: JsonObject = json.loads(SETTINGS.read_text(encoding="utf-8"))
    servers = [rule for name in config.mcp_servers for rule in _rules(name, config)]
    settings["permissions"]["allow"] += [*config.allowed_tools, *servers]
    settings["permissions"]["ask"] = list(config.ask_tools)
    if config.network != "host":
        # Claude Code would ask Anthropic about each host first, past the gateway's credentials, and
        # fetch nothing when it gets no answer. The operator's list of hosts decides here.
        settings["skipWebFetchPreflight"] = True
    return settings


def _rules(name: str, config: Config) -> list[str]:
    """Return the rules that allow the tools of an MCP server."""
    tools = config.mcp_allowed.get(name, ["*"])
    return [f"mcp__{name}" if tool == "*" else f"mcp__{name}__{tool}" for tool in tools]


def asks(config: Config) -> bool:
    """Return whether the operator is asked about calls; if not, calls without a rule are denied."""
    questions = any(names_tool(rule, QUESTIONS) for rule in config.allowed_tools)
    return config.permissions == "ask" or bool(config.ask_tools) or questions


def built_in_tools(settings: JsonObject, more: Iterable[str] = ()) -> list[str]:
    """Return the built-in tools that the model sees: those that the settings name, and `more`."""
    rules = [*settings["permissions"]["allow"], *settings["permissions"].get("ask", ()), *more]
    tools = [rule.partition("(")[0] for rule in rules if not rule.startswith("mcp__")]
    return list(dict.fromkeys(tools))


def form_seconds(config: Config) -> float:
    """Return the seconds that a form of an MCP server may wait: its tool call waits with it."""
    limit = min(config.turn_timeout, TOOL_TIMEOUT)
    return max(limit / 2, limit - 30.0)


def _hooks(permissions: Permissions) -> "dict[HookEvent, list[HookMatcher]]":
    """Return the hook for the forms of MCP servers."""
    from claude_agent_sdk import HookMatcher

    # The SDK's own type does not list the event yet.
    event = cast("HookEvent", "Elicitation")
    callback = cast("HookCallback", permissions.elicit)
    return {event: [HookMatcher(hooks=[callback], timeout=TOOL_TIMEOUT)]}


def relay(paths: Paths) -> JsonObject:
    """Return the MCP server that is the hive."""
    return {
        "type": "stdio",
        "command": "socat",
        "args": ["-", f"UNIX-CONNECT:{paths.socket}"],
    }


def environment(config: Config, paths: Paths) -> dict[str, str]:
    """Return the variables that Claude Code gets in addition to the unit's environment."""
    milliseconds = str(int(min(config.turn_timeout, TOOL_TIMEOUT) * 1000))
    return {
        "HOME": os.environ.get("HOME", "/root"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        # Background processes end with the turn, so nobody could notify the model of their end.
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "DISABLE_AUTOUPDATER": "1",
        "ENABLE_TOOL_SEARCH": "false",
        # With a proxy, names are looked up there: the container may have no name servers.
        "CLAUDE_CODE_PROXY_RESOLVES_HOSTS": "1",
        "MCP_TOOL_TIMEOUT": milliseconds,
        "BASH_DEFAULT_TIMEOUT_MS": milliseconds,
        "BASH_MAX_TIMEOUT_MS": milliseconds,
        **config.environment,
        # Everything that Claude Code keeps survives the container; .claude.json too.
        "CLAUDE_CONFIG_DIR": str(paths.claude),
        **credentials(config, paths).environment,
    }


def session_file(state: Path) -> Path:
    """Return the file that keeps the session's id."""
    return state / "hyperhive-session-id"
