"""agent.toml: the configuration of an agent. The manager proposes it, the operator approves it.

    file = agentfile.parse(text)
    file.packages

An agent writes the file, so everything in it has bounds. docs/agent-toml.md says which of its keys
take precedence over hyperhive.toml.
"""

import re
import tomllib
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from services.agentproject import MAX_PROJECTS, AgentProject
from services.config import BudgetLimits, ResourceLimits, Section
from services.configerrors import sentence
from services.configvalues import (
    EgressRules,
    ModelName,
    NetworkMode,
    SleepAfter,
    StartTimeout,
    TurnTimeout,
    Url,
)
from services.tomllines import line_of, most_dots

NAME: Final = "agent.toml"
"""The name of the file in an agent's repository."""

BYTE_ORDER_MARK: Final = "\ufeff"
"""The character with which some editors begin a file; TOML 1.0 does not know it."""

MAX_BYTES: Final = 64 * 1024
MAX_PROMPT_BYTES: Final = 16 * 1024
MAX_ENTRIES: Final = 100
"""The most packages, variables, tools, and arguments of a server."""
MAX_PORTS: Final = 16
MAX_DOTS: Final = 32
"""The most dots on one line: the parser's work grows with the square of a key's dots."""

LIVE: Final = {"egress", "budget"}
"""The keys that apply to a running container at once."""

TEMPLATE: Final = """\
# The configuration of this agent. A line that begins with # has no effect: remove the # to use it.
# docs/agent-toml.md of Hyperhive describes each key.

# Debian packages in its container, in addition to those of the host.
#packages = ["jq", "ripgrep"]

# The model of its turns.
#model = "claude-sonnet-4-5"

# Seconds without work until the agent is put to sleep; 0: never.
#sleep_after = 3600

# Seconds after which a turn is cut off.
#turn_timeout = 1800

# Seconds that Claude Code has to start, with its MCP servers and the session.
#start_timeout = 60

# How often a message is handed to it before the message is parked as a dead letter.
#max_attempts = 3

# The tokens of its context above which the context is compacted after a turn.
#compact_over_tokens = 120000

# Seconds without work after which a large context is compacted.
#compact_idle_after = 240

# Whether it begins a turn of its own after a deploy or an update.
#wake_after_deploy = true

# Whether it goes on by itself after a usage limit of its provider; false: the operator is asked.
#resume_after_limit = false

# Whether its programs may create user namespaces, as bubblewrap and podman do.
#nested = true

# Names that it may reach through the gateway, in addition to those for all agents.
#egress = ["github.com", "*.githubusercontent.com", "example.org:8443"]

# Its network: "gateway", "host" or "none".
#network = "gateway"

# Repositories that it works on; `hivectl project list` shows those of this host.
#projects = ["website"]

# Ports of its localhost that the operator may look at.
#ports = [3000]

# Tools of Claude Code that it may use, in addition to the usual ones.
#allowed_tools = ["WebFetch", "WebSearch"]

# Ask the operator about calls of tools that are not allowed, in place of refusing them.
#permissions = "ask"

# Calls that always need the operator's permission.
#ask_tools = ["Bash(git push:*)"]

# Instructions for this agent, after those for all agents.
#prompt = \"\"\"
#You write the documentation.
#\"\"\"

# Variables of its commands and its MCP servers. No secrets: the history keeps them.
#[environment]
#LANG = "C.UTF-8"

# Limits of its container.
#[resources]
#memory_max = "4G"
#cpu_quota = 200

# The most that it may spend, in dollars and in tokens.
#[budget]
#day = 5.0
#week_tokens = 50000000

# Further MCP servers: a program in the container, or a URL.
#[mcp_servers.docs]
#command = "npx"
#args = ["-y", "some-server"]
"""


def _variable(value: str) -> str:
    """Return `value` if it is the name of a variable that an agent.toml may set."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError("it must be a name of 1 to 64 of A-Z a-z 0-9 _, the first not a digit")
    return value


def _server(value: str) -> str:
    """Return `value` if it is a valid name of an MCP server."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", value) or value in ("hive", "hyperhive"):
        raise ValueError(
            "it must be the name of a server: 1 to 32 of a-z, 0-9 and -, but not hive and not "
            "hyperhive"
        )
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("it must not contain the NUL character")
    return value


def _plain(value: str) -> str:
    """Return `value` if it has no variable that Claude Code would fill in, such as its API key."""
    if "${" in value or not value.isprintable():
        raise ValueError(
            "it must be printable and must not contain ${: variables are not expanded here"
        )
    return value


def _package(value: str) -> str:
    """Return `value` if it is a valid name of a Debian package."""
    # apt would take a - at the end for an order to remove the package.
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]{0,98}[a-z0-9+]", value):
        raise ValueError("it must be the name of a Debian package, without a version")
    return value


def check_tool(value: str) -> str:
    """Return `value` if it is a permission rule as in the settings of Claude Code.

    Raises:
        ValueError: it is not; the text is the rule.
    """
    if not re.fullmatch(r"[A-Za-z][\w-]{0,127}(\([^()\x00-\x1f]{1,256}\))?", value, re.ASCII):
        raise ValueError("it must be a tool such as WebFetch or WebFetch(domain:example.org)")
    return value


def _prompt(value: str) -> str:
    if len(value.encode()) > MAX_PROMPT_BYTES:
        raise ValueError(f"it must have at most {MAX_PROMPT_BYTES // 1024} KiB of text")
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
            raise ValueError(
                "it must have either a command, with args and env, or a url, with headers"
            )
        if self.url is not None and (self.args or self.env):
            raise ValueError("a url cannot have args or env: they belong to a command")
        if self.command is not None and self.headers:
            raise ValueError("a command cannot have headers: they belong to a url")
        return self


class AgentFile(Section):
    """The whole file; a key that is not set has the value that hyperhive.toml sets."""

    packages: tuple[Annotated[str, AfterValidator(_package)], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """The names of Debian packages, without versions, at most 100. They and their dependencies
    that the host lacks are unpacked over the container's /usr; their installation scripts do not
    run."""
    environment: dict[Annotated[str, AfterValidator(_variable)], Text] = Field(
        default_factory=dict, max_length=MAX_ENTRIES
    )
    """The environment variables of the agent's commands and of its MCP servers, at most 100, each
    of at most 4096 characters. Claude Code, the harness and the relay do not get them."""
    mcp_servers: dict[Annotated[str, AfterValidator(_server)], McpServer] = Field(
        default_factory=dict, max_length=20
    )
    """A section `[mcp_servers.NAME]` for each further MCP server, at most 20."""
    resources: ResourceLimits = ResourceLimits()
    """The limits of the container."""
    nested: StrictBool = False
    """Whether programs in the container may create user and network namespaces, as sandboxes such
    as bubblewrap (which Claude Code's own sandbox uses) and container engines do. Such a program
    reaches more of the kernel, so an attack on the kernel becomes more likely to succeed."""
    network: NetworkMode | None = None
    """The network of the container: `gateway`, `host` or `none`."""
    egress: EgressRules = ()
    """The names and addresses that the agent may reach through the gateway, at most 100, in
    addition to those of `[gateway]` in hyperhive.toml: `github.com`, `*.pythonhosted.org`,
    `crates.io:443`, `10.1.2.3:8080`. A rule without a port is for the ports 80 and 443."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), max_length=MAX_PORTS
    )
    """The TCP ports of the container's localhost that the operator may reach, at most 16; not with
    the network `host`."""
    projects: tuple[AgentProject, ...] = Field(default=(), max_length=MAX_PROJECTS)
    """The projects that the agent works on, at most 16: names, or tables."""
    budget: BudgetLimits = BudgetLimits()
    """The most that the agent may spend."""
    sleep_after: SleepAfter | None = None
    """The seconds until the agent is put to sleep when it is idle; 0: never."""
    model: ModelName | None = None
    """The model of the agent's turns, such as `claude-sonnet-4-5`."""
    allowed_tools: tuple[Annotated[str, AfterValidator(check_tool)], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """The tools of Claude Code that the agent may use in addition to the usual ones, at most 100:
    `WebFetch`, `WebFetch(domain:example.org)`. Tools of MCP servers need no entry."""
    permissions: Literal["deny", "ask"] = "deny"
    """The answer to a call of a tool that is not allowed: `deny` refuses it, `ask` asks the
    operator, and the agent waits for the answer. With `ask` the agent also has the tools WebFetch,
    WebSearch, NotebookEdit and AskUserQuestion."""
    ask_tools: tuple[Annotated[str, AfterValidator(check_tool)], ...] = Field(
        default=(), max_length=MAX_ENTRIES
    )
    """The calls of tools that need the operator's permission each time, at most 100, even if they
    are allowed otherwise: `Bash(git push:*)`, `WebFetch`, `mcp__docs__delete`. A rule that
    `allowed_tools` names word for word takes precedence."""
    turn_timeout: TurnTimeout | None = None
    """The seconds after which a turn is cut off."""
    start_timeout: StartTimeout | None = None
    """The seconds that Claude Code has to start."""
    max_attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How often a message is handed to the agent before it is parked as a dead letter."""
    compact_over_tokens: Annotated[int, Field(ge=1000, le=10_000_000)] | None = None
    """The tokens of the context above which it is compacted after a turn."""
    compact_idle_after: Annotated[int, Field(ge=10, le=30 * 86400)] | None = None
    """The idle seconds after which the context is compacted, if it has at least 20,000 tokens."""
    wake_after_deploy: StrictBool = False
    """Whether the agent begins a turn of its own after a deploy, an update or a rebuild, to be told
    of the change; otherwise it is told in its next turn."""
    resume_after_limit: StrictBool = True
    """Whether the agent goes on by itself when a usage limit of its provider has ended; otherwise
    the operator is asked."""
    prompt: Annotated[str, AfterValidator(_prompt)] = ""
    """The text, of at most 16 KiB, that the agent is told about itself."""

    @field_validator("ports")
    @classmethod
    def _ports(cls, ports: tuple[int, ...]) -> tuple[int, ...]:
        """Keep each port once."""
        return tuple(dict.fromkeys(ports))

    @field_validator("projects")
    @classmethod
    def _projects(cls, projects: tuple[AgentProject, ...]) -> tuple[AgentProject, ...]:
        known = [project.name for project in projects]
        if twice := next((name for name in known if known.count(name) > 1), None):
            raise ValueError(f"it must name each project once, and {twice} is there twice")
        return projects

    def differs_live(self, other: "AgentFile") -> bool:
        """Return whether `other` differs, and only in keys that apply to a running container."""
        return self != other and self.model_dump(exclude=LIVE) == other.model_dump(exclude=LIVE)

    def for_harness(self) -> dict[str, Any]:
        """Return the keys of harness.json that this file decides, in types of JSON.

        Returns:
            The keys, with `command_environment` for `environment`; unset keys are left out.
        """
        keys = {"environment", "mcp_servers", "allowed_tools", "prompt", "model", "turn_timeout"}
        keys |= {"start_timeout", "wake_after_deploy", "resume_after_limit"}
        keys |= {"compact_over_tokens", "compact_idle_after", "permissions", "ask_tools"}
        keys |= {"projects"}
        values = self.model_dump(mode="json", include=keys, exclude_defaults=True)
        if "environment" in values:
            values["command_environment"] = values.pop("environment")
        return values


def parse(text: str) -> AgentFile:
    """Return the content of an agent.toml.

    Raises:
        ValueError: it is not valid; one sentence names the line, the key and the rule.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ValueError(f"{NAME} has more than {MAX_BYTES // 1024} KiB; shorten it.")
    try:
        return AgentFile.model_validate(loads(text))
    except ValidationError as error:
        path = error.errors()[0]["loc"]
        keys = [part for part in path if part != "[key]"]
        line = line_of(text.removeprefix(BYTE_ORDER_MARK), keys)
        raise ValueError(f"{NAME}, line {line}: {sentence(AgentFile, error)}") from None


def loads(text: str) -> dict[str, object]:
    """Return the keys and values of an agent.toml, unchecked.

    Raises:
        ValueError: it is not TOML, or too much of it; a sentence names the line.
    """
    if most_dots(text) > MAX_DOTS:
        raise ValueError(f"{NAME} has a line with more than {MAX_DOTS} dots outside of strings.")
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:
        what, _, place = str(error).rpartition(" (at ")
        if not what:
            raise ValueError(f"{NAME} has a number that is too long.") from None
        number = re.match(r"line (\d+)", place)
        line = number[1] if number else len(text.splitlines())
        raise ValueError(f"{NAME}, line {line}: this is not valid TOML: {what}.") from None
    except RecursionError:
        raise ValueError(f"{NAME} is nested too deeply.") from None
