"""/etc/hyperhive/hyperhive.toml: one section a room, checked; what is not there has a default.

    config = Config.load()
    config.broker.max_body_bytes

Each room adds the fields it needs to its section's class here. A field has a default, bounds
(`Field(ge=1)`) and a docstring-like comment; the file may leave out everything. HYPERHIVE_CONFIG in
the environment names another file.
"""

import ipaddress
import os
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from services.errors import ConfigError
from wire.names import AGENT_NAME, ALL_AGENTS, OPERATOR, is_agent_name

PATH: Final = Path("/etc/hyperhive/hyperhive.toml")
ENVIRONMENT: Final = "HYPERHIVE_CONFIG"


_PLAIN: Final = re.compile(r"[A-Za-z0-9._+-]+")
_KEY: Final = re.compile(r"[\w*-]{1,64}", re.ASCII)
NETWORK_WORDS: Final = ("any", "localhost", "link-local", "multicast")


def _network(value: str) -> str:
    """`value`, if systemd understands it: what it does not, it leaves out of the filter."""
    if value not in NETWORK_WORDS:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            words = ", ".join(NETWORK_WORDS)
            raise ValueError(
                f"it is an address, a network such as 10.0.0.0/8, or one of: {words}"
            ) from error
    return value


def _tree(value: str) -> str:
    """`value`, if a directory is called so whose name nspawn and systemd take as it is."""
    parts = value.split("/")[1:]
    if value != "/" and not (
        value.startswith("/") and all(_PLAIN.fullmatch(p) and p not in (".", "..") for p in parts)
    ):
        raise ValueError("it is / for the host, or an absolute path of A-Z a-z 0-9 . _ + - only")
    return value


def _url(value: str) -> str:
    """`value`, if it is an address in the web."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not value.isprintable():
        raise ValueError("it is a URL such as http://127.0.0.1:7100")
    return value


def _agent(value: str) -> str:
    """`value`, if an agent may be called so."""
    if not is_agent_name(value):
        raise ValueError("it is the name of an agent: a-z, 0-9 and -, at most 9, first a letter")
    return value


def _recipient(value: str) -> str:
    """`value`, if messages may be sent to it."""
    if value not in (OPERATOR, ALL_AGENTS) and not AGENT_NAME.fullmatch(value):
        raise ValueError("it is the name of an agent, manager, operator, or * for everybody")
    return value


_SIZES: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _size(value: object) -> object:
    """Bytes, if `value` is a text such as 512M; anything else is left to the next check."""
    if not isinstance(value, str):
        return value
    number, unit = value[:-1], _SIZES.get(value[-1:].upper())
    if unit is None or not number.isdecimal():
        raise ValueError("it is a number of bytes, or a text such as 512M or 4G")
    return int(number) * unit


Network = Annotated[str, AfterValidator(_network)]
"""An address, a network with its prefix length, or one of systemd's words for some."""

Tree = Annotated[str, AfterValidator(_tree)]
"""The absolute path of a directory with a /usr in it."""

Url = Annotated[str, AfterValidator(_url)]
"""http or https, and a host."""


class Section(BaseModel):
    """What all sections have in common: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""No message is longer, whoever sends it."""


class SendLimits(Section):
    """[broker.agents.NAME]: what is left out is as [broker] has it for all agents."""

    may_send_to: tuple[Annotated[str, AfterValidator(_recipient)], ...] = (ALL_AGENTS,)
    messages_per_hour: int | None = Field(default=None, ge=1)
    bytes_per_hour: int | None = Field(default=None, ge=1)
    max_body_bytes: int | None = Field(default=None, ge=1, le=MAX_BODY_BYTES)


class BrokerConfig(Section):
    """[broker]"""

    max_body_bytes: int = Field(default=1024 * 1024, ge=1, le=MAX_BODY_BYTES)
    # What one agent may send; it stays on the disk. All at once, or spread over the hour.
    agent_messages_per_hour: int = Field(default=3600, ge=1)
    agent_bytes_per_hour: int = Field(default=64 * 1024 * 1024, ge=1)
    hive_messages_per_hour: int = Field(default=36000, ge=1)  # of each service
    max_redeliveries: int = Field(default=5, ge=0, le=1000)  # then it is a dead letter
    agents: dict[Annotated[str, AfterValidator(_agent)], SendLimits] = Field(default_factory=dict)
    max_open_questions: int = Field(default=100, ge=1, le=10_000)  # of one asker
    max_pending_reminders: int = Field(default=100, ge=1, le=10_000)  # of one owner
    keep_days: int = Field(default=30, ge=1, le=36500)  # what is done and older is deleted


Size = Annotated[int, BeforeValidator(_size), Field(ge=16 * 2**20, le=2**60)]
"""Bytes, or a text such as 512M or 4G."""
Weight = Annotated[int, Field(ge=1, le=10_000)]


class ResourceLimits(Section):
    """[lifecycle.resources]: what each container may use. None: no limit, or systemd's own."""

    memory_high: Size | None = None  # more than that is slowed down
    memory_max: Size | None = None  # and more than that is killed
    cpu_weight: Weight | None = None  # against the other agents; 100 is average
    cpu_quota: int | None = Field(default=None, ge=1, le=100_000)  # percent of one processor
    tasks_max: int | None = Field(default=None, ge=64, le=4_000_000)  # processes and threads
    io_weight: Weight | None = None


SleepAfter = Annotated[int, Field(ge=0, le=2592000)]
"""Seconds until an idle agent is put to sleep; 0: it never is."""


class AgentSettings(Section):
    """[lifecycle.agents.NAME]: what is left out is as [lifecycle] has it for all agents."""

    resources: ResourceLimits = ResourceLimits()
    network_deny: tuple[Network, ...] | None = None
    network_allow: tuple[Network, ...] | None = None
    image: Tree | None = None
    sleep_after: SleepAfter | None = None


class LifecycleConfig(Section):
    """[lifecycle]: the containers."""

    # The host's default for tasks is 32768 for everything in it.
    resources: ResourceLimits = ResourceLimits(tasks_max=4096)
    agents: dict[Annotated[str, AfterValidator(_agent)], AgentSettings] = Field(
        default_factory=dict
    )

    sleep_after: SleepAfter = 0
    create_manager: bool = True  # on start, when there is none and nothing is kept of one
    auto_update: bool = True  # agents after Hyperhive itself, one after the other, each at rest
    start_timeout: int = Field(default=60, ge=1, le=3600)  # seconds until READY
    stop_timeout: int = Field(default=30, ge=1, le=3600)  # seconds until it is killed
    # Addresses no container may talk to, as IPAddressDeny= takes them: the host and its networks.
    network_deny: tuple[Network, ...] = (
        "localhost",
        "link-local",
        "multicast",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
    )
    # Exceptions from it; the name servers of the host's resolv.conf are one anyway.
    network_allow: tuple[Network, ...] = ()
    # Whether an agent may not start where the host cannot keep it from those.
    require_filter: bool = False
    # What the containers' /usr comes from; / is the host.
    image: Tree = "/"

    def image_of(self, name: str) -> str:
        """What the /usr of `name` comes from; / is the host."""
        own = self.agents.get(name, AgentSettings()).image
        return self.image if own is None else own

    def sleeps_after(self, name: str, deployed: int | None = None) -> int:
        """For how many seconds `name` is idle until it is put to sleep; 0: it never is.

        `deployed`: what its agent.toml says.
        """
        own = self.agents.get(name, AgentSettings()).sleep_after
        return next(value for value in (own, deployed, self.sleep_after) if value is not None)


class ApprovalsConfig(Section):
    """[approvals]"""

    max_pending: int = Field(default=100, ge=1, le=1000)
    """How many requests may wait for the operator at once."""
    requests_per_hour: int = Field(default=60, ge=1, le=10_000)
    """How many the manager may make: each stays on the disk."""


class DashboardConfig(Section):
    """[dashboard]"""

    # What login links begin with; None: the address of the socket.
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+/?$")] | None = None
    # Names, without a port, that the dashboard goes by besides those of the loopback.
    allowed_hosts: tuple[str, ...] = ()


class HarnessConfig(Section):
    """[harness]: what runs inside the containers."""

    model: str | None = None  # of agents that were spawned without one; None: Claude Code's own
    scripted_model_url: Url | None = None
    session_idle: int = Field(default=600, ge=1, le=2592000)  # seconds until an idle one is closed
    turn_timeout: int = Field(default=1800, ge=10, le=86400)  # seconds until a turn is given up
    environment: dict[str, str] = Field(default_factory=dict)  # of Claude Code


_UNSHOWN: Final = "unshown"
"""The type of an error whose input is not to be shown, since it ends in the journal."""


def _hook(value: str) -> str:
    """`value`, if it is an address to post to, with no password in it."""
    try:
        if urlsplit(_url(value)).username is None:
            return value
    except ValueError:
        pass
    raise PydanticCustomError(
        _UNSHOWN,
        "It is a URL such as https://ntfy.sh/TOPIC, without a user and a password: put a token "
        "into the file /etc/hyperhive/credentials/notify/NAME, NAME being that of the webhook",
    )


Event = Literal["approval", "question", "crash", "deploy-failed", "notice"]
"""What a webhook may be told of."""


class Webhook(Section):
    """[[notify.webhooks]]: one place outside that is told what the operator should look at."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
    type: Literal["ntfy", "json"]
    url: Annotated[str, AfterValidator(_hook)]  # with ntfy, its last part is the topic
    events: tuple[Event, ...] = get_args(Event)
    details: bool = True  # whether the words of agents go out, too, or only what happened

    @model_validator(mode="after")
    def _topic(self) -> Self:
        if self.type == "ntfy" and not urlsplit(self.url).path.strip("/"):
            raise PydanticCustomError(
                _UNSHOWN, "The url of an ntfy topic ends with it: https://ntfy.sh/TOPIC"
            )
        return self


class NotifyConfig(Section):
    """[notify]: what leaves this host when the operator is needed."""

    webhooks: tuple[Webhook, ...] = Field(default=(), max_length=16)
    attempt_timeout: int = Field(default=10, ge=1, le=60)  # seconds for one request
    give_up_after: int = Field(default=86400, ge=1, le=2592000)  # seconds for all tries of one
    agent_posts_per_hour: int = Field(default=20, ge=1, le=1000)  # what one agent may cause

    @field_validator("webhooks")
    @classmethod
    def _names(cls, webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        names = [webhook.name for webhook in webhooks]
        if len(set(names)) < len(names):
            raise ValueError("each webhook has a name of its own")
        return webhooks


class Config(Section):
    """The whole file."""

    broker: BrokerConfig = BrokerConfig()
    lifecycle: LifecycleConfig = LifecycleConfig()
    approvals: ApprovalsConfig = ApprovalsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    harness: HarnessConfig = HarnessConfig()
    notify: NotifyConfig = NotifyConfig()

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """The configuration in `path`, else in $HYPERHIVE_CONFIG, else in PATH.

        A missing file is the default configuration, unless it was named. Raises ConfigError.
        """
        named = path or os.environ.get(ENVIRONMENT)
        file = Path(named or PATH)
        try:
            text = file.read_text()
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
            raise ConfigError(f"{file} is no valid TOML: {error}.") from error
        except ValidationError as error:
            raise ConfigError(f"{file}: {sentence(cls, error)}") from error


def sentence(model: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong in what was to become a `model`, as one sentence."""
    first: Any = error.errors()[0]
    # pydantic says so of a key that does not fit itself, beside its value's place.
    key = ".".join(_shown(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"{key} is unknown; known are: {_known(model, first['loc'][:-1])}."
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if first["type"] == _UNSHOWN:
        return f"{key} does not fit: {message}."
    return f"{key} = {reprlib.repr(first['input'])} does not fit: {message}."


def _shown(part: str | int) -> str:
    """A key as the file has it, or quoted where it must be: it may hold anything."""
    text = str(part)
    return text if _KEY.fullmatch(text) else reprlib.repr(text)


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """The keys of the section at `path`; a table of sections has one below each of its keys."""
    at: Any = model
    for part in path:
        if get_origin(at) is dict:
            at = get_args(at)[1]
        elif get_origin(at) is tuple:
            at = get_args(at)[0]
        else:
            at = at.model_fields[str(part)].annotation
    return ", ".join(at.model_fields)
