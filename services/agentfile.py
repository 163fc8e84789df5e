"""agent.toml: what an agent is made of. The manager proposes it, the operator approves it.

    file = agentfile.parse(text)
    file.packages

It is written by an agent, so everything in it has bounds. What of it counts more or less than
hyperhive.toml: docs/agent-toml.md.
"""

import re
import tomllib
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from services.config import ResourceLimits, Section, SleepAfter, Url, sentence
from services.tomllines import line_of, most_dots

NAME: Final = "agent.toml"
"""What the file is called in an agent's repository."""

MAX_BYTES: Final = 64 * 1024
MAX_PROMPT_BYTES: Final = 16 * 1024
MAX_ENTRIES: Final = 100
"""Of packages, variables, tools and arguments."""
MAX_DOTS: Final = 32

TEMPLATE: Final = """\
# What this agent is made of. A line that begins with # says nothing: remove the # to use it.
# docs/agent-toml.md of Hyperhive describes each key.

# Debian packages that its container has besides what the host has.
#packages = ["jq", "ripgrep"]

# The model of its turns.
#model = "claude-sonnet-4-5"

# Seconds without work until it is put to sleep; 0: never.
#sleep_after = 3600

# Tools of Claude Code that it may use besides the usual ones.
#allowed_tools = ["WebFetch", "WebSearch"]

# What it is told about itself, after what all agents are told.
#prompt = \"\"\"
#You write the documentation.
#\"\"\"

# Variables of its Claude Code and of what that runs. No secrets: all agents' history keeps them.
#[environment]
#LANG = "C.UTF-8"

# What its container may use.
#[resources]
#memory_max = "4G"
#cpu_quota = 200

# Further MCP servers: a program in the container, or a URL.
#[mcp_servers.docs]
#command = "npx"
#args = ["-y", "some-server"]
"""

_TAKEN: Final = re.compile(
    # Which model answers, with whose credentials, and on whose way there.
    r"(ANTHROPIC|CLAUDE)_.*|.*_PROXY|NODE_(OPTIONS|EXTRA_CA_CERTS|TLS_REJECT_UNAUTHORIZED)"
    # What the harness sets, and what finds and loads its programs.
    r"|HIVE_.*|HOME|PATH|LD_.*|BASH_.*|BUN_.*|MCP_.*|DISABLE_.*|ENABLE_TOOL_SEARCH"
    # What systemd tells the harness.
    r"|SYSTEMD_.*|LISTEN_.*|WATCHDOG_.*|NOTIFY_SOCKET|(CREDENTIALS|STATE|RUNTIME)_DIRECTORY"
    r"|INVOCATION_ID|JOURNAL_STREAM|MAINPID|USER|LOGNAME|SHELL|PWD",
    re.IGNORECASE,
)


def _variable(value: str) -> str:
    """`value`, if a variable may be called so and nobody else sets it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError("it is a name of A-Z a-z 0-9 _, at most 64 long, first no digit")
    if _TAKEN.fullmatch(value):
        raise ValueError("this variable is Hyperhive's, systemd's or Claude Code's own")
    return value


def _server(value: str) -> str:
    """`value`, if an MCP server may be called so."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", value) or value == "hive":
        raise ValueError("it is the name of a server: a-z, 0-9 and -, at most 32, and not hive")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("a text has no character 0")
    return value


def _plain(value: str) -> str:
    """`value`, if Claude Code puts no variable, such as its API key, in its place."""
    if "${" in value or not value.isprintable():
        raise ValueError("it is a printable text without ${, because no variables are filled in")
    return value


def _package(value: str) -> str:
    """`value`, if a Debian package may be called so."""
    # apt would take a - at the end for an order to remove it.
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{0,98}[a-z0-9+]", value):
        raise ValueError("it is the name of a Debian package, without a version")
    return value


def _tool(value: str) -> str:
    """`value`, if it is a rule as the settings of Claude Code take it."""
    if not re.fullmatch(r"[A-Za-z][\w-]{0,127}(\([^()\x00-\x1f]{1,256}\))?", value, re.ASCII):
        raise ValueError("it is a tool such as WebFetch or WebFetch(domain:example.org)")
    return value


def _model(value: str) -> str:
    """`value`, if a model may be called so."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.:/@\[\]-]{0,127}", value, re.ASCII):
        raise ValueError("it is the name of a model, of A-Z a-z 0-9 . _ : / @ - only, at most 128")
    return value


def _prompt(value: str) -> str:
    if len(value.encode()) > MAX_PROMPT_BYTES:
        raise ValueError(f"it is a text of at most {MAX_PROMPT_BYTES // 1024} KiB")
    return _no_nul(value)


Text = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_no_nul)]
"""An argument, or the value of a variable."""

Header = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_plain)]

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class McpServer(Section):
    """An MCP server: a program in the container, or a URL."""

    command: Annotated[Text, Field(min_length=1)] | None = None
    """The program, which speaks MCP on its standard input and output."""
    args: tuple[Text, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """The arguments of `command`, at most 100."""
    env: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")], Text] = (
        Field(default_factory=dict, max_length=MAX_ENTRIES)
    )
    """The environment variables that only `command` gets, at most 100."""
    url: Annotated[Url, AfterValidator(_plain)] | None = None
    """An http or https address that speaks MCP, in place of `command`."""
    headers: dict[HeaderName, Header] = Field(default_factory=dict, max_length=MAX_ENTRIES)
    """The headers that are sent to `url` with each request, at most 100."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("it has either a command, with args and env, or a url, with headers")
        if self.url is not None and (self.args or self.env):
            raise ValueError("a url has no args and no env: they belong to a command")
        if self.command is not None and self.headers:
            raise ValueError("a command has no headers: they belong to a url")
        return self


class AgentFile(Section):
    """The whole file; a key that is left out is as in hyperhive.toml."""

    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """The names of Debian packages, without versions, at most 100. They and their dependencies
    that the host lacks are unpacked over the container's /usr; their installation scripts do not
    run."""
    environment: dict[Annotated[str, AfterValidator(_variable)], Text] = Field(
        default_factory=dict, max_length=MAX_ENTRIES
    )
    """The environment variables of Claude Code and of its programs, at most 100, each of at most
    4096 characters."""
    mcp_servers: dict[Annotated[str, AfterValidator(_server)], McpServer] = Field(
        default_factory=dict, max_length=20
    )
    """A section `[mcp_servers.NAME]` for each further MCP server, at most 20."""
    resources: ResourceLimits = ResourceLimits()
    """The limits of the container."""
    sleep_after: SleepAfter | None = None
    """The seconds until the agent is put to sleep when it is idle; 0: never."""
    model: Annotated[str, AfterValidator(_model)] | None = None
    """The model of the agent's turns, such as `claude-sonnet-4-5`."""
    allowed_tools: tuple[Annotated[str, AfterValidator(_tool)], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """The tools of Claude Code that the agent may use in addition to the usual ones, at most 100:
    `WebFetch`, `WebFetch(domain:example.org)`. Tools of MCP servers need no entry."""
    prompt: Annotated[str, AfterValidator(_prompt)] = ""
    """The text, of at most 16 KiB, that the agent is told about itself."""

    def for_harness(self) -> dict[str, Any]:
        """What harness.json takes from here as it is, in types of JSON; unset keys are left out.

        Keys: `environment` (to be laid over that of hyperhive.toml), `mcp_servers`,
        `allowed_tools`, `prompt`, `model`.
        """
        keys = {"environment", "mcp_servers", "allowed_tools", "prompt", "model"}
        return self.model_dump(mode="json", include=keys, exclude_defaults=True)


def parse(text: str) -> AgentFile:
    """The content of an agent.toml.

    Raises:
        ValueError: it does not fit; one sentence says line, key and what is allowed.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ValueError(f"{NAME} is longer than {MAX_BYTES // 1024} KiB.")
    try:
        return AgentFile.model_validate(_loads(text))
    except ValidationError as error:
        path = error.errors()[0]["loc"]
        line = line_of(text, [part for part in path if part != "[key]"])
        raise ValueError(f"{NAME}, line {line}: {sentence(AgentFile, error)}") from None


def _loads(text: str) -> dict[str, Any]:
    if most_dots(text) > MAX_DOTS:
        raise ValueError(f"{NAME} has a line with more than {MAX_DOTS} dots outside of texts.")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        what, _, place = str(error).rpartition(" (at ")
        if not what:
            raise ValueError(f"{NAME} has a number that is too long.") from None
        number = re.match(r"line (\d+)", place)
        line = number[1] if number else len(text.splitlines())
        raise ValueError(f"{NAME}, line {line}: this is no valid TOML: {what}.") from None
    except RecursionError:
        raise ValueError(f"{NAME} is nested too deeply.") from None
