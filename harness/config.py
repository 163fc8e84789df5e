"""The configuration of this container's harness: harness.json, paths, credentials.

It uses the standard library only, because it is loaded before READY=1.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.jsonvalues import Json, JsonObject

BASE_URL: Final = "http://hive.internal"
"""The address of the model for Claude Code. Nobody resolves it: requests go to a unix socket."""
PLACEHOLDER: Final = "placeholder"
"""The text in place of a key: the gateway on the host has the real one."""


class ConfigError(Exception):
    """The configuration is invalid; the text names the file and the key."""


@dataclass(frozen=True)
class Config:
    """The keys of harness.json; times are in seconds."""

    name: str
    manager: bool = False
    model: str | None = None
    api: str = "none"
    """The model behind the gateway: `gateway` is the real one, `scripted` a stand-in that is used
    without a login, `none` means that the agent needs a login."""
    network: str = "host"
    """The network of the container: `gateway`, `host` or `none`."""
    port: int = 0
    """The port of the agent's page; 0 when no port was left."""
    forge: str = ""
    """The agent's account in the forge; empty for none."""
    session_idle: float = 600.0
    turn_timeout: float = 1800.0
    environment: dict[str, str] = field(default_factory=dict)
    """The operator's variables, for Claude Code."""
    command_environment: dict[str, str] = field(default_factory=dict)
    """The agent's variables, for its commands and its MCP servers alone."""
    mcp_servers: dict[str, JsonObject] = field(default_factory=dict)
    mcp_allowed: dict[str, list[str]] = field(default_factory=dict)
    """The allowed tools of MCP servers; all are allowed of a server that is not named."""
    allowed_tools: list[str] = field(default_factory=list)
    permissions: str = "deny"
    """`ask`: the operator is asked about calls of tools that are not allowed."""
    ask_tools: list[str] = field(default_factory=list)
    """Rules for calls about which the operator is asked in any case."""
    projects: list[JsonObject] = field(default_factory=list)
    """The agent's projects: name, readonly, branches, wake; see harness/projects/project.py."""
    prompt: str = ""
    start_timeout: float = 60.0
    """Seconds that Claude Code has to start."""
    compact_over_tokens: float | None = None
    """The context is compacted after a turn that leaves more tokens in it than this."""
    compact_idle_after: float | None = None
    """A large context is compacted when the session has idled this long."""
    started: JsonObject = field(default_factory=dict)
    """The start of this container: at, verb, by, changes."""
    wake_after_deploy: bool = False
    """Whether the agent is woken to be told of a deployment, instead of with its next message."""
    resume_after_limit: bool = True
    """Whether the agent goes on by itself when a limit of its provider has ended."""
    notes_limit: float = 40_000.0
    """Bytes of /state/notes.md above which it is condensed."""
    telemetry: bool = False
    """Whether the hive has a collector that takes traces."""
    operator_name: str | None = None
    operator_pronouns: str | None = None


@dataclass(frozen=True)
class Paths:
    """The paths in the container; tests set others through the environment."""

    socket: Path
    api: Path
    """The socket on which the gateway takes the requests to the model."""
    state: Path
    work: Path
    """The directory of the working copies of projects."""
    projects: Path
    """The directory of the repositories of projects, which the host keeps."""
    config: Path
    claude: Path
    cgroups: Path
    runtime: Path
    """A directory that only root of the container enters, and that ends with the harness."""
    web: Path
    """The socket on which the host's dashboard and hivectl read the record."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Paths":
        """Read HIVE_SOCKET, HIVE_API, HIVE_STATE, HIVE_WORK, HIVE_PROJECTS, HIVE_CONFIG,
        HIVE_GROUPS, HIVE_WEB, HOME and systemd's."""
        return cls(
            socket=Path(environ.get("HIVE_SOCKET", "/run/hive/mcp.sock")),
            api=Path(environ.get("HIVE_API", "/run/hive/api.sock")),
            state=Path(environ.get("HIVE_STATE", "/state")),
            work=Path(environ.get("HIVE_WORK", "/work")),
            projects=Path(environ.get("HIVE_PROJECTS", "/projects")),
            config=Path(environ.get("HIVE_CONFIG", "/etc/hyperhive/harness.json")),
            claude=Path(environ.get("HOME", "/root")) / ".claude",
            cgroups=Path(environ.get("HIVE_GROUPS", "/sys/fs/cgroup")),
            runtime=Path(environ.get("RUNTIME_DIRECTORY", "/run/hive-harness")),
            web=Path(environ.get("HIVE_WEB", "/run/hive-web/web.sock")),
        )

    @property
    def login(self) -> Path:
        """The file that `claude auth login` writes."""
        return self.claude / ".credentials.json"


class Source(StrEnum):
    """The sources of Claude Code's credentials."""

    KEY = "key"
    LOGIN = "login"
    SCRIPTED = "scripted"
    NONE = "none"


@dataclass(frozen=True)
class Credentials:
    """The credentials of Claude Code, and where they come from."""

    source: Source
    environment: dict[str, str]


def credentials(config: Config, paths: Paths) -> Credentials:
    """Return the credentials to use now: the gateway's, else a login, else the scripted model.

    The host writes harness.json anew when it gets credentials, so `api` is read again.
    """
    api = _api(config, paths)
    through_gateway = {
        "ANTHROPIC_UNIX_SOCKET": str(paths.api),
        "ANTHROPIC_BASE_URL": BASE_URL,
        "ANTHROPIC_API_KEY": PLACEHOLDER,
    }
    if api == "gateway":
        return Credentials(Source.KEY, through_gateway)
    if paths.login.exists():
        return Credentials(Source.LOGIN, {})
    if api == "scripted":
        return Credentials(Source.SCRIPTED, through_gateway)
    return Credentials(Source.NONE, {})


def _api(config: Config, paths: Paths) -> str:
    try:
        return load(paths.config).api
    except ConfigError:
        return config.api


def load(path: Path) -> Config:
    """Read harness.json; unknown keys are ignored, because the host may be newer.

    Raises:
        ConfigError: the file is missing or is not a JSON object, or a value has the wrong type.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from None
    except ValueError as exc:
        raise ConfigError(f"{path}: is not valid JSON: {exc}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must contain a JSON object")
    known = _WANTED.keys()
    values = {key: value for key, value in data.items() if key in known}
    if not values.get("name"):
        raise ConfigError(f"{path}: key 'name' is missing")
    for key, value in values.items():
        if not _fits(key, value):
            raise ConfigError(f"{path}: key {key!r} must be {_WANTED[key]}, not {value!r}")
    return Config(**values)


_WANTED: Final = {
    "name": "a string",
    "manager": "true or false",
    "model": "a string or null",
    "api": "a string",
    "network": "a string",
    "port": "a port, or 0",
    "forge": "a string",
    "session_idle": "a number of seconds above 0",
    "turn_timeout": "a number of seconds above 0",
    "environment": "an object of strings",
    "command_environment": "an object of strings",
    "mcp_servers": "an object of objects",
    "allowed_tools": "a list of strings",
    "permissions": "a string",
    "ask_tools": "a list of strings",
    "projects": "a list of objects",
    "prompt": "a string",
    "start_timeout": "a number of seconds above 0",
    "compact_over_tokens": "a number above 0 or null",
    "compact_idle_after": "a number of seconds above 0 or null",
    "started": "an object",
    "wake_after_deploy": "true or false",
    "resume_after_limit": "true or false",
    "notes_limit": "a number above 0",
    "telemetry": "true or false",
    "operator_name": "a string or null",
    "operator_pronouns": "a string or null",
}


def _fits(key: str, value: Json) -> bool:
    match _WANTED[key]:
        case "true or false":
            return isinstance(value, bool)
        case "a string":
            return isinstance(value, str)
        case "a string or null":
            return value is None or isinstance(value, str)
        case "an object of strings":
            return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        case "an object of objects":
            return isinstance(value, dict) and all(isinstance(v, dict) for v in value.values())
        case "a list of strings" | "a list of objects" as wanted:
            kind = str if wanted == "a list of strings" else dict
            return isinstance(value, list) and all(isinstance(v, kind) for v in value)
        case "an object":
            return isinstance(value, dict)
        case "a port, or 0":
            return type(value) is int and 0 <= value <= 65535
        case wanted if value is None:
            return wanted.endswith(" or null")
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
