"""The files that Claude Code is started with, in a directory that only root can enter.

Every user of the host can read the arguments of every process, also of those in containers. So the
system prompt, the settings and the MCP servers are in files, and the arguments name the files.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.claude import shell
from harness.claude.process import HIVE_SERVER
from harness.claude.program import binary
from harness.config import Config
from harness.jsonvalues import JsonObject
from harness.prompts.prompt import system_prompt


@dataclass(frozen=True)
class StartFiles:
    """The files below `directory`."""

    directory: Path

    @property
    def prompt(self) -> Path:
        """The system prompt."""
        return self.directory / "prompt.md"

    @property
    def settings(self) -> Path:
        """The settings of Claude Code."""
        return self.directory / "settings.json"

    @property
    def servers(self) -> Path:
        """The MCP servers."""
        return self.directory / "mcp.json"

    @property
    def bash(self) -> Path:
        """The shell of the agent's commands. Claude Code knows a shell by its file name."""
        return self.directory / "bash"

    @property
    def claude(self) -> Path:
        """The script that starts Claude Code in its control group."""
        return self.directory / "claude"

    def write(
        self,
        config: Config,
        settings: JsonObject,
        relay: JsonObject,
        group: Path | None,
        own_group: Path | None,
        state: Path,
        work: Path,
    ) -> None:
        """Write the files, in place of earlier ones.

        Args:
            config: the configuration of the agent.
            settings: the settings of Claude Code.
            relay: the MCP server that is the hive.
            group: the control group of a turn's commands, if there is one.
            own_group: the control group of Claude Code itself, if there is one.
            state: the agent's directory.
            work: the directory of the working copies of projects.
        """
        scripts = self.directory / "servers"
        for directory in (self.directory, scripts):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        variables = self.directory / "variables"
        _write(variables, shell.assignments(config.command_environment))
        bash = shutil.which("bash") or "/bin/bash"
        _write(self.bash, shell.command_shell(bash, variables, group), 0o700)
        _write(self.claude, shell.in_group(str(binary()), own_group), 0o700)
        servers: dict[str, JsonObject] = {}
        for name, server in config.mcp_servers.items():
            if "url" in server:
                servers[name] = {"type": "http", **server}
            else:
                path = scripts / name
                _write(path, shell.server_script(server, variables), 0o700)
                servers[name] = {"type": "stdio", "command": str(path)}
        _write(self.servers, json.dumps({"mcpServers": {**servers, HIVE_SERVER: relay}}))
        _write(self.prompt, system_prompt(config, state, work))
        _write(self.settings, json.dumps(settings))


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
