"""/etc/hyperhive/hyperhive.toml: one section for each room, checked; every key has a default.

    config = Config.load()
    config.broker.max_body_bytes

Each room adds the fields it needs to its section's class here. A field has a default, bounds
(`Field(ge=1)`) and a docstring, from which hyperhive.toml(5) is made, and a row in
docs/operations.md; the file may leave out everything. HYPERHIVE_CONFIG in the environment names
another file. `python -m services.config` checks the file.
"""

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.configerrors import sentence
from services.configvalues import (
    UNSHOWN,
    AccountName,
    AgentName,
    BudgetTokens,
    CollectorUrl,
    CredentialName,
    Dollars,
    EgressRules,
    ForgeUrl,
    HeaderName,
    ModelName,
    Network,
    NetworkMode,
    Price,
    ProxyAddress,
    Recipient,
    ShortLine,
    Size,
    SleepAfter,
    StartTimeout,
    StorePath,
    TransferSize,
    Tree,
    TurnTimeout,
    UpstreamUrl,
    Url,
    WebhookUrl,
    Weight,
)
from services.errors import ConfigError
from wire.names import ALL_AGENTS

PATH: Final = Path("/etc/hyperhive/hyperhive.toml")
ENVIRONMENT: Final = "HYPERHIVE_CONFIG"


class Section(BaseModel):
    """The base of all sections: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""The upper bound of every sender's `max_body_bytes`."""


class SendLimits(Section):
    """The limits of one agent; a key that is not set has the value that `[broker]` sets."""

    may_send_to: tuple[Recipient, ...] = (ALL_AGENTS,)
    """The recipients to which this agent may send messages and questions: names of agents,
    `manager` or `operator`; `*` allows all of them."""
    messages_per_hour: int | None = Field(default=None, ge=1)
    """The messages that this agent may send in an hour."""
    bytes_per_hour: int | None = Field(default=None, ge=1)
    """The bytes of text that this agent may send in an hour."""
    max_body_bytes: int | None = Field(default=None, ge=1, le=MAX_BODY_BYTES)
    """The longest message of this agent, in bytes of UTF-8."""


class BrokerConfig(Section):
    """The messages, questions and reminders."""

    max_body_bytes: int = Field(default=1024 * 1024, ge=1, le=MAX_BODY_BYTES)
    """The longest message, in bytes of UTF-8."""
    agent_messages_per_hour: int = Field(default=3600, ge=1)
    """The messages that one agent may send in an hour, all at once or spread over the hour. Each
    message stays on the disk."""
    agent_bytes_per_hour: int = Field(default=64 * 1024 * 1024, ge=1)
    """The bytes of text that one agent may send in an hour."""
    hive_messages_per_hour: int = Field(default=36000, ge=1)
    """The messages that each service of the hive may send in an hour."""
    max_redeliveries: int = Field(default=5, ge=0, le=1000)
    """The redeliveries of a message after which it is a dead letter."""
    agents: dict[AgentName, SendLimits] = Field(default_factory=dict)
    """A section `[broker.agents.NAME]` for each agent that has limits of its own."""
    loop_messages: int = Field(default=120, ge=0, le=100_000)
    """The messages, questions and answers between the same two agents within `loop_minutes`,
    without a message of the operator to either of them, above which those in the loop are held and
    the operator is asked whether they are in a loop; 0: never."""
    loop_repeats: int = Field(default=20, ge=2, le=100_000)
    """The messages with the same text between the same two agents within `loop_minutes` at which
    those in the loop are held, too. A message to all agents counts once, for its sender."""
    loop_minutes: int = Field(default=10, ge=1, le=1440)
    """The minutes in which `loop_messages` and `loop_repeats` count."""
    max_open_questions: int = Field(default=100, ge=1, le=10_000)
    """The questions that an agent, or the operator, may have open at once."""
    max_pending_reminders: int = Field(default=100, ge=1, le=10_000)
    """The reminders that an agent, or the operator, may have pending at once."""
    max_queued_per_sender: int = Field(default=1000, ge=1, le=1_000_000)
    """The messages of one agent that may wait in one inbox. Messages of the operator and of the
    hive are not limited."""
    max_queued_per_inbox: int = Field(default=10_000, ge=1, le=1_000_000)
    """The messages of all agents that may wait in one inbox. When they do, agents with less than
    their share of it may still send to it."""
    keep_days: int = Field(default=30, ge=1, le=36500)
    """The days after which completed messages, questions and reminders are deleted."""


class ResourceLimits(Section):
    """The limits of a container; systemd's defaults apply to limits that are not set."""

    memory_high: Size | None = None
    """The memory above which the container is slowed down: bytes, at least 16 MiB, or a string such
    as `512M`."""
    memory_max: Size | None = None
    """The memory above which processes of the container are killed: bytes, at least 16 MiB, or a
    string such as `4G`."""
    cpu_weight: Weight | None = None
    """The share of processor time relative to the other agents; 100 is average."""
    cpu_quota: int | None = Field(default=None, ge=1, le=100_000)
    """The most processor time, in percent of one processor: 200 is two processors."""
    tasks_max: int | None = Field(default=None, ge=64, le=4_000_000)
    """The most processes and threads."""
    io_weight: Weight | None = None
    """The share of disk bandwidth relative to the other agents; 100 is average."""
    disk_max: Size | None = None
    """The disk space of the agent's files, above which the agent is stopped: bytes, at least 16
    MiB, or a string such as `16G`. The manager and the operator are warned at 80 %."""


DEFAULT_LIMITS: Final = ResourceLimits(memory_max=4 * 2**30, tasks_max=4096, disk_max=16 * 2**30)
"""The limits of each container that the file does not set. One agent must not be able to use up
what all share: the host's default for tasks is 32768 for everything in it."""


class BudgetLimits(Section):
    """The limits of what may be spent; a limit that is not set does not exist."""

    day: Dollars | None = None
    """The most dollars in a day."""
    week: Dollars | None = None
    """The most dollars in a week."""
    total: Dollars | None = None
    """The most dollars in all."""
    day_tokens: BudgetTokens | None = None
    """The most tokens in a day."""
    week_tokens: BudgetTokens | None = None
    """The most tokens in a week."""
    total_tokens: BudgetTokens | None = None
    """The most tokens in all."""


class AgentSettings(Section):
    """The settings of one agent; a key that is not set has the value that `[lifecycle]` sets. A
    list replaces the list of `[lifecycle]`."""

    resources: ResourceLimits = ResourceLimits()
    """The limits of this agent's container."""
    network: NetworkMode | None = None
    """The network of this agent's container, whatever its agent.toml says."""
    network_deny: tuple[Network, ...] | None = None
    """The addresses that this agent's container may not reach with the network `host`."""
    network_allow: tuple[Network, ...] | None = None
    """Exceptions from `network_deny`."""
    image: Tree | None = None
    """The source of this container's /usr."""
    toplevel: StorePath | None = None
    """The NixOS system of this agent while its configuration has none."""
    sleep_after: SleepAfter | None = None
    """The idle seconds after which this agent is put to sleep; 0: never."""


BackendName = Literal["nspawn", "nixos"]
"""The systems that containers may have."""


class LifecycleConfig(Section):
    """The containers."""

    resources: ResourceLimits = DEFAULT_LIMITS
    """The limits of each container."""
    agents: dict[AgentName, AgentSettings] = Field(default_factory=dict)
    """A section `[lifecycle.agents.NAME]` for each agent that has settings of its own."""
    sleep_after: SleepAfter = 0
    """The idle seconds after which an agent is put to sleep: its container stops until a message,
    or `hivectl start`, wakes the agent; 0: never."""
    create_manager: bool = True
    """Whether lifecycle creates the manager when it starts, unless a manager exists or the data of
    a destroyed one were kept."""
    auto_update: bool = True
    """Whether the agents are updated automatically after an update of Hyperhive: one after the
    other, each when it is idle."""
    start_timeout: int = Field(default=60, ge=1, le=3600)
    """The seconds within which a starting container must become ready."""
    stop_timeout: int = Field(default=30, ge=1, le=3600)
    """The seconds after which a container that does not stop is killed."""
    network: NetworkMode = "gateway"
    """The network of the containers: `gateway` is a network of its own, with nothing but a
    loopback, from which the gateway leads to the model and to the names of the egress list; `none`
    leads to the model only; `host` is the network of the host, without the addresses of
    `network_deny`."""
    network_deny: tuple[Network, ...] = (
        "localhost",
        "link-local",
        "multicast",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
        # Metadata of clouds at addresses that look public: Azure's, and Oracle's (192.0.0.192).
        "168.63.129.16",
        "192.0.0.0/24",
    )
    """The addresses that no container with the host's network may reach, as `IPAddressDeny=` takes
    them: networks, `any`, `localhost`, `link-local` or `multicast`. The host's own addresses are
    added, as they come and go, unless this list is empty."""
    network_allow: tuple[Network, ...] = ()
    """Exceptions from `network_deny`. The host's name servers are always allowed on port 53; they
    are on all ports if this list contains them."""
    require_filter: bool = False
    """Whether agents must not start on a host that cannot enforce `network_deny`."""
    image: Tree = "/"
    """The source of the containers' /usr: `/` for the host's own, or the absolute path of a
    directory that contains a /usr."""
    backend: BackendName = "nspawn"
    """The system in the containers: `nspawn` is the host's own /usr, or an `image`; `nixos` is a
    NixOS system of each agent, which Nix has built. The NixOS module sets `nixos`."""
    toplevel: StorePath = ""
    """The NixOS system of agents whose configuration has none, with the backend `nixos`: a path
    directly in /nix/store. The NixOS module sets it."""

    @field_validator("resources")
    @classmethod
    def _with_defaults(cls, limits: ResourceLimits) -> ResourceLimits:
        """Keep the default of each limit that is not set."""
        return DEFAULT_LIMITS.model_copy(update=limits.model_dump(exclude_unset=True))

    def network_of(self, name: str, deployed: NetworkMode | None = None) -> NetworkMode:
        """Return the network of the container of the agent `name`.

        Args:
            deployed: the value in its agent.toml.
        """
        own = self.agents.get(name, AgentSettings()).network
        return own or deployed or self.network

    def image_of(self, name: str) -> str:
        """Return the source of the programs of the agent `name`: / is the host's /usr."""
        if self.backend == "nixos":
            return "/nix/store"
        own = self.agents.get(name, AgentSettings()).image
        return self.image if own is None else own

    def toplevel_of(self, name: str) -> str:
        """Return the NixOS system of the agent `name` without one of its own; empty for none."""
        own = self.agents.get(name, AgentSettings()).toplevel
        return self.toplevel if own is None else own

    def sleeps_after(self, name: str, deployed: int | None = None) -> int:
        """Return the seconds until the agent `name`, when idle, is put to sleep; 0: never.

        Args:
            deployed: the value in its agent.toml.
        """
        own = self.agents.get(name, AgentSettings()).sleep_after
        return next(value for value in (own, deployed, self.sleep_after) if value is not None)


Auth = Literal["auto", "key", "bearer"]
"""How a credential goes to the upstream."""


class GatewayAgent(Section):
    """The gateway of one agent; a key that is not set has the value that `[gateway]` sets."""

    upstream: UpstreamUrl | None = None
    """The address of the Messages API for this agent; the credential for all agents does not go to
    another one than that of `[gateway]`."""
    auth: Auth | None = None
    """How this agent's credential goes to the upstream."""
    egress: EgressRules | None = None
    """The rules for this agent, in place of those of `[gateway]`; those of its agent.toml are
    added."""


class GatewayConfig(Section):
    """The way of the agents to the model, and to the names that they may reach."""

    upstream: UpstreamUrl = "https://api.anthropic.com"
    """The address of the Messages API, or of a service that is compatible with it."""
    auth: Auth = "auto"
    """How a credential goes to the upstream: `key` as x-api-key, `bearer` as a bearer token, `auto`
    by the form of the credential."""
    egress: EgressRules = (
        "pypi.org",
        "files.pythonhosted.org",
        "registry.npmjs.org",
        "crates.io",
        "index.crates.io",
        "static.crates.io",
        "proxy.golang.org",
        "sum.golang.org",
        "deb.debian.org",
        "security.debian.org",
    )
    """The names and addresses that each agent with the network `gateway` may reach, at most 100, in
    addition to those of its agent.toml: `github.com`, `*.pythonhosted.org`, `crates.io:443`,
    `10.1.2.3:8080`, or `*` for all names with a dot. A rule without a port is for the ports 80 and
    443. By default these are registries of packages."""
    agents: dict[AgentName, GatewayAgent] = Field(default_factory=dict)
    """A section `[gateway.agents.NAME]` for each agent that has settings of its own."""
    max_body: Size = 32 * 2**20
    """The longest request to the model: bytes, at least 16 MiB, or a string such as `32M`."""
    idle_timeout: int = Field(default=300, ge=1, le=86400)
    """The seconds after which a connection on which nothing passes is closed."""
    max_connections: int = Field(default=64, ge=1, le=1024)
    """The connections that one agent may have at once to the model, and as many to other hosts."""
    max_transfer: TransferSize = 16 * 2**30
    """The bytes that one connection to another host may carry, both ways together: bytes, at least
    1 MiB, or a string such as `16G`."""

    def upstream_of(self, name: str) -> str:
        """Return the address of the Messages API for the agent `name`."""
        own = self.agents.get(name, GatewayAgent()).upstream
        return self.upstream if own is None else own

    def has_own_upstream(self, name: str) -> bool:
        """Return whether the Messages API of the agent `name` is another one than that of all."""
        return self.upstream_of(name).rstrip("/") != self.upstream.rstrip("/")

    def auth_of(self, name: str) -> Auth:
        """Return how the credential of the agent `name` goes to the upstream."""
        own = self.agents.get(name, GatewayAgent()).auth
        return self.auth if own is None else own

    def egress_of(self, name: str) -> tuple[str, ...]:
        """Return the rules for the agent `name`, without those of its agent.toml."""
        own = self.agents.get(name, GatewayAgent()).egress
        return self.egress if own is None else own


class ApprovalsConfig(Section):
    """The requests for approval."""

    max_pending: int = Field(default=100, ge=1, le=1000)
    """The requests that may wait for the operator at once."""
    requests_per_hour: int = Field(default=60, ge=1, le=10_000)
    """The requests that the manager may make in an hour, including refused ones. Each request stays
    on the disk."""


Event = Literal[
    "approval", "question", "crash", "deploy-failed", "budget", "egress", "notice", "message"
]
"""The events that a webhook or a browser can be told of."""

WEBHOOK_EVENTS: Final[tuple[Event, ...]] = tuple(e for e in get_args(Event) if e != "message")
"""The events of a webhook that chooses none: agents write as often as they like."""

PUSHED: Final[tuple[Event, ...]] = get_args(Event)
"""The events of which a browser can be told."""


class FlakeInput(Section):
    """An input of the hive's flake, which Nix finds in its store."""

    path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9+._=-]+)+$")]
    """The directory of the input in the Nix store."""
    nar_hash: Annotated[str, StringConstraints(pattern=r"^sha256-[A-Za-z0-9+/]{43}=$")]
    """The hash of the directory, as `nix hash path` prints it."""
    last_modified: int = Field(default=1, ge=1)
    """The time of the last change of the input, in seconds since 1970."""


class NixosConfig(Section):
    """The systems of the agents with the backend `nixos`. The NixOS module sets this section."""

    system: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+-linux$")] = "x86_64-linux"
    """The type of the host, as Nix names it."""
    inputs: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")], FlakeInput
    ] = Field(default_factory=dict)
    """A section `[nixos.inputs.NAME]` for `hyperhive`, and for each input of its flake. Without
    `hyperhive`, no systems are built."""
    allowed_uris: tuple[Annotated[str, StringConstraints(pattern=r"^[!-&(-~]{1,256}$")], ...] = ()
    """The beginnings of addresses from which the Nix code of an agent may fetch, in addition to the
    inputs of its flake: `github:`, `https://example.org/`."""
    keep_builds: int = Field(default=3, ge=0, le=1000)
    """The systems of an agent that are kept for a way back, in addition to the deployed one."""
    keep_days: int = Field(default=30, ge=1, le=36500)
    """The days after which these are removed."""


class DashboardConfig(Section):
    """The operator's page."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+/?$")] | None = None
    """The URL with which login links begin, such as `https://hive.example.org`; by default the
    address of the dashboard's socket."""
    preview_domain: Annotated[
        str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$")
    ] = "localhost"
    """The domain of the host names of previews, such as alice-3000.localhost. Browsers find names
    below `localhost` on their own host; another domain needs a wildcard that leads to the
    dashboard."""
    allowed_hosts: tuple[str, ...] = ()
    """The host names, without a port, under which browsers may open the dashboard, in addition to
    the addresses of the loopback."""
    terminal: bool = False
    """Whether an operator may open a terminal in an agent's container, as its root, on the agent's
    page."""
    terminal_idle: int = Field(default=900, ge=10, le=86400)
    """The seconds without a key stroke after which a terminal ends."""
    behind_proxy: bool = False
    """Whether a proxy with TLS is in front of the dashboard. If so, the dashboard's socket may be
    on an address that other hosts can reach, and accepts only connections from
    `trusted_proxies`."""
    trusted_proxies: tuple[ProxyAddress, ...] = ()
    """The addresses and networks from which the proxy connects. The dashboard trusts their
    `X-Forwarded-For` and `user_header`."""
    user_header: HeaderName | None = None
    """The header in which the proxy names the user who has logged in to the proxy, such as
    `Remote-User`; by default users log in to the dashboard. The proxy must remove the header from
    the requests of browsers."""
    push_services: tuple[str, ...] = (
        "fcm.googleapis.com",
        "updates.push.services.mozilla.com",
        "web.push.apple.com",
        "*.push.apple.com",
        "*.notify.windows.com",
    )
    """The hosts to which notifications for browsers may be sent, `*.` for all hosts below one: the
    push services of the browsers. An empty list turns the notifications off."""
    users: dict[str, Literal["operator", "reviewer", "guest"]] = Field(default_factory=dict)
    """The roles of the users whom `user_header` names; the key `*` is for all others, who otherwise
    may not log in."""

    @model_validator(mode="after")
    def _proxy(self) -> Self:
        if self.behind_proxy and not (self.trusted_proxies and self.url):
            raise ValueError("behind_proxy needs trusted_proxies and url")
        if self.trusted_proxies and not self.behind_proxy:
            raise ValueError("trusted_proxies needs behind_proxy = true")
        if (self.user_header is None) != (not self.users) or (self.users and not self.behind_proxy):
            raise ValueError("user_header, users and behind_proxy need each other")
        return self


class OperatorConfig(Section):
    """The operator, the person who runs the hive; agents are told."""

    name: ShortLine | None = None
    """The name by which agents call the operator."""
    pronouns: ShortLine | None = None
    """The operator's pronouns, such as she/her; without them agents write they/them."""


class HarnessConfig(Section):
    """The harness, which runs Claude Code inside the containers."""

    model: ModelName | None = None
    """The model of agents that were spawned without one; by default, Claude Code's default."""
    scripted_model_url: Url | None = None
    """The URL of a stand-in for the Messages API, which agents without credentials use."""
    session_idle: int = Field(default=600, ge=1, le=2592000)
    """The idle seconds after which Claude Code is ended; the next turn resumes its session."""
    turn_timeout: TurnTimeout = 1800
    """The seconds after which a turn is aborted."""
    start_timeout: StartTimeout = 60
    """The seconds that Claude Code has to start, with its MCP servers and a session to resume;
    after them it is ended, and the start is tried again."""
    notes_limit: int = Field(default=40_000, ge=1000, le=1_000_000)
    """The bytes of an agent's /state/notes.md above which it is condensed between two turns."""
    environment: dict[str, str] = Field(default_factory=dict)
    """The environment variables of Claude Code. Variables of proxies, such as `HTTPS_PROXY`, apply
    only to agents with the network `host`."""


class Webhook(Section):
    """A webhook to which notify posts when the operator is needed."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
    """The name of the webhook, of a-z, 0-9 and hyphens; required. The token in
    /etc/hyperhive/credentials/notify/NAME is sent to the webhook."""
    type: Literal["ntfy", "json"]
    """The kind of the webhook; required."""
    url: WebhookUrl
    """The address to which posts go, without user and password; required. The last part of an
    ntfy address is the topic."""
    events: tuple[Event, ...] = WEBHOOK_EVENTS
    """The events that are posted to the webhook; by default all but `message`, which is a message
    of an agent to the operator."""
    details: bool = True
    """Whether posts contain texts that agents wrote. Otherwise they only name the event and the
    agent."""

    @model_validator(mode="after")
    def _topic(self) -> Self:
        if self.type == "ntfy" and not urlsplit(self.url).path.strip("/"):
            raise PydanticCustomError(
                UNSHOWN, "The url of type ntfy must end with a topic: https://ntfy.sh/TOPIC"
            )
        return self


class NotifyConfig(Section):
    """The notifications that are posted to webhooks."""

    webhooks: tuple[Webhook, ...] = Field(default=(), max_length=16)
    """The sections `[[notify.webhooks]]`, at most 16."""
    attempt_timeout: int = Field(default=10, ge=1, le=60)
    """The seconds within which a webhook must answer a request."""
    give_up_after: int = Field(default=86400, ge=1, le=2592000)
    """The seconds for which a post that the webhook does not accept is retried."""
    agent_posts_per_hour: int = Field(default=20, ge=1, le=1000)
    """The posts that one agent may cause in an hour."""

    @field_validator("webhooks")
    @classmethod
    def _names(cls, webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        names = [webhook.name for webhook in webhooks]
        if len(set(names)) < len(names):
            raise ValueError("each webhook must have a name of its own")
        return webhooks


class Budgets(Section):
    """The budgets: limits of what may be spent. Limits that the operator sets with `hivectl budget`
    take precedence over these."""

    hive: BudgetLimits = BudgetLimits()
    """The limits of all agents together."""
    agent: BudgetLimits = BudgetLimits()
    """The limits of each agent, as far as its agent.toml and `[ledger.budgets.agents.NAME]` set
    none."""
    agents: dict[AgentName, BudgetLimits] = Field(default_factory=dict)
    """A section `[ledger.budgets.agents.NAME]` for each agent that has limits of its own, which
    take precedence over those of its agent.toml."""
    credentials: dict[CredentialName, BudgetLimits] = Field(default_factory=dict)
    """A section `[ledger.budgets.credentials.NAME]` for each credential that has limits: `default`
    or `"agent:NAME"`."""


class ModelPrice(Section):
    """The price of the models whose names begin with NAME, in dollars for a million tokens. Such
    prices take precedence over those that Hyperhive knows."""

    input: Price
    """The price of tokens that the model reads."""
    output: Price
    """The price of tokens that the model writes."""
    cache_read: Price | None = None
    """The price of tokens that the model reads from its cache; by default a tenth of `input`."""
    cache_write: Price | None = None
    """The price of tokens that are kept in the cache for five minutes; by default 1.25 times
    `input`. For an hour it is 1.6 times as much."""


class LedgerConfig(Section):
    """The record of turns, requests and their costs, and the budgets."""

    budgets: Budgets = Budgets()
    """The limits of what may be spent."""
    prices: dict[ModelName, ModelPrice] = Field(default_factory=dict)
    """A section `[ledger.prices."NAME"]` for each model, or beginning of names of models, that has
    another price than Hyperhive knows."""
    keep_days: int = Field(default=90, ge=1, le=36500)
    """The days after which turns, requests and hosts are deleted."""
    agent_requests_per_hour: int = Field(default=20_000, ge=1, le=1_000_000)
    """The requests to the model API that one agent may make in an hour, including those that cost
    nothing."""
    max_requests_per_agent: int = Field(default=200_000, ge=1, le=10_000_000)
    """The requests that are kept of one agent; beyond it the oldest are deleted every hour."""
    agent_turns_per_hour: int = Field(default=3600, ge=1, le=100_000)
    """The turns that one agent may record in an hour."""
    max_turns_per_agent: int = Field(default=100_000, ge=1, le=10_000_000)
    """The turns that are kept of one agent; beyond it the oldest are deleted every hour, so that no
    agent can fill the disk."""


class TelemetryConfig(Section):
    """The export of traces to an OpenTelemetry collector."""

    endpoint: CollectorUrl | None = None
    """The address of the collector that takes OTLP over HTTP, to which `/v1/traces` is appended.
    Without it no traces are made. Each file in /etc/hyperhive/credentials/telemetry is a header of
    the requests: its name and its value."""
    agent_spans_per_minute: int = Field(default=3000, ge=64, le=1_000_000)
    """The spans that one agent may export in a minute."""


class AssistantConfig(Section):
    """The MCP endpoint for assistants of the operator."""

    allowed_hosts: tuple[str, ...] = ()
    """The host names, without a port, under which a proxy reaches the endpoint, in addition to the
    addresses of the loopback."""


class ForgeAgent(Section):
    """The account of one agent in the forge. An agent without such a section has none."""

    account: AccountName | None = None
    """The name of the account; by default that of the agent."""


class ForgeConfig(Section):
    """The forge (Forgejo or Gitea) in which agents have accounts."""

    url: ForgeUrl | None = None
    """The address of the forge, as this host reaches it. Agents with an account reach it as
    http://forge.hive.internal, where the gateway adds the token of the account."""
    agents: dict[AgentName, ForgeAgent] = Field(default_factory=dict)
    """A section `[forge.agents.NAME]` for each agent that has an account in the forge."""
    messages_per_hour: int = Field(default=60, ge=1, le=10_000)
    """The most events of the forge of which one agent is told in an hour."""

    @model_validator(mode="after")
    def _one_account_each(self) -> Self:
        taken: dict[str, str] = {}
        for name in self.agents:
            other = taken.setdefault(self.account(name).lower(), name)
            if other != name:
                raise PydanticCustomError(
                    UNSHOWN,
                    "{name} and {other} have the same account in the forge. Give each agent an "
                    "account of its own",
                    {"name": name, "other": other},
                )
        return self

    def account(self, name: str) -> str:
        """Return the account of the agent `name`; empty for none."""
        agent = self.agents.get(name)
        return "" if agent is None else agent.account or name


class Config(Section):
    """The whole file."""

    broker: BrokerConfig = BrokerConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    gateway: GatewayConfig = GatewayConfig()
    approvals: ApprovalsConfig = ApprovalsConfig()
    nixos: NixosConfig = NixosConfig()
    dashboard: DashboardConfig = DashboardConfig()
    harness: HarnessConfig = HarnessConfig()
    notify: NotifyConfig = NotifyConfig()
    ledger: LedgerConfig = LedgerConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    assistant: AssistantConfig = AssistantConfig()
    forge: ForgeConfig = ForgeConfig()
    operator: OperatorConfig = OperatorConfig()

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read the configuration in `path`, else in $HYPERHIVE_CONFIG, else in PATH.

        A missing file is the default configuration, unless it was named.

        Raises:
            ConfigError: the file is missing, unreadable, or not valid.
        """
        named = path or os.environ.get(ENVIRONMENT)
        file = Path(named or PATH)
        try:
            text = file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            if named:
                raise ConfigError(f"{file} does not exist.") from None
            return cls()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file} cannot be read: {error}.") from error
        return cls._parse(file, text)

    @classmethod
    def _parse(cls, file: Path, text: str) -> Self:
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file} is not valid TOML: {error}.") from error
        except ValidationError as error:
            raise ConfigError(f"{file}: {sentence(cls, error)}") from error


def main() -> str | None:
    """Check the file; return the sentence that says what is wrong with it."""
    try:
        Config.load()
    except ConfigError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
