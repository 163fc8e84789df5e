"""The types of the values in hyperhive.toml and agent.toml, and the checks of these values."""

import ipaddress
import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from services import egress
from wire.names import (
    AGENT_NAME,
    ALL_AGENTS,
    MODEL_NAME,
    MODEL_RULE,
    OPERATOR,
    is_agent_name,
)

UNSHOWN: Final = "unshown"
"""The type of an error whose input must not be shown, because errors end in the journal."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._+-]+")
NETWORK_WORDS: Final = ("any", "localhost", "link-local", "multicast")


def _network(value: str) -> str:
    """Return `value` if systemd understands it; systemd leaves any other out of the filter."""
    if value not in NETWORK_WORDS:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError as error:
            words = ", ".join(NETWORK_WORDS)
            raise ValueError(
                f"it must be an address, a network such as 10.0.0.0/8, or one of: {words}"
            ) from error
    return value


def _proxy(value: str) -> str:
    """Return `value` if it is an address or a network."""
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise ValueError("it must be an address, or a network such as 10.0.0.0/8") from error
    return value


_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,39}")


def _account(value: str) -> str:
    """Return `value` if it may be the name of an account in a forge."""
    if not _ACCOUNT.fullmatch(value):
        raise ValueError("it must be the name of an account in the forge, such as alice")
    return value


_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_OWN_HEADERS: Final = frozenset(
    {
        *("host", "origin", "connection", "content-type", "content-length", "last-event-id"),
        *("sec-fetch-site", "hyperhive-session", "hyperhive-proxy", "authorization", "cookie"),
        *("x-forwarded-for", "user-agent", "transfer-encoding", "upgrade"),
    }
)
"""The headers that mean something else to the dashboard."""


def _header(value: str) -> str:
    """Return `value` if it is the name of a header that has no meaning yet."""
    if not _HEADER.fullmatch(value) or value.lower() in _OWN_HEADERS:
        raise ValueError("it must be the name of a header of its own, such as Remote-User")
    return value


def _tree(value: str) -> str:
    """Return `value` if it is a path that nspawn and systemd take without escapes."""
    parts = value.split("/")[1:]
    if value != "/" and not (
        value.startswith("/") and all(_PLAIN.fullmatch(p) and p not in (".", "..") for p in parts)
    ):
        raise ValueError(
            "it must be / for the host, or an absolute path of A-Z a-z 0-9 . _ + - only"
        )
    return value


STORE_PATH: Final = re.compile(r"/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211}")
"""A path directly in the Nix store."""


def _store_path(value: str) -> str:
    """Return `value` if it is a path directly in the Nix store, or empty."""
    if value and not STORE_PATH.fullmatch(value):
        raise ValueError("it must be a path directly in /nix/store, such as a toplevel of NixOS")
    return value


def _model_name(value: str) -> str:
    """Return `value` if it is a valid name of a model."""
    if not MODEL_NAME.fullmatch(value):
        raise ValueError(f"it must be the name of a model: {MODEL_RULE}")
    return value


def _url(value: str) -> str:
    """Return `value` if it is an http or https address."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not value.isprintable():
        raise ValueError("it must be a URL such as http://127.0.0.1:7100")
    return value


def _short_line(value: str) -> str:
    """Return `value` if it is one short line of text."""
    if not 1 <= len(value) <= 64 or not value.isprintable() or not value.strip():
        raise ValueError("it must be 1 to 64 characters on one line")
    return value.strip()


def _agent(value: str) -> str:
    """Return `value` if it is a valid agent name."""
    if not is_agent_name(value):
        raise ValueError(
            "it must be the name of an agent: 1 to 9 of a-z, 0-9 and -, first a letter"
        )
    return value


def _recipient(value: str) -> str:
    """Return `value` if it is a valid recipient of messages."""
    if value not in (OPERATOR, ALL_AGENTS) and not AGENT_NAME.fullmatch(value):
        raise ValueError("it must be the name of an agent, manager, operator, or * for everybody")
    return value


_CREDENTIAL: Final = re.compile(rf"default|scripted|agent:{AGENT_NAME.pattern}")


def _credential(value: str) -> str:
    """Return `value` if it is the name of a credential of the gateway."""
    if not _CREDENTIAL.fullmatch(value):
        raise ValueError("it must be the name of a credential: default, or agent:NAME")
    return value


_SIZES: Final = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _size(value: object) -> object:
    """Return a text such as 512M as bytes; leave any other type to the next check."""
    if not isinstance(value, str):
        return value
    number, unit = value[:-1], _SIZES.get(value[-1:].upper())
    if unit is None or not number.isdecimal():
        raise ValueError("it must be a number of bytes, or a string such as 512M or 4G")
    return int(number) * unit


def _is_without_secret(value: str, *, query: bool) -> bool:
    """Return whether `value` is an http or https address without a user and a password.

    Args:
        query: whether it may have a query and a fragment.
    """
    try:
        parts = urlsplit(_url(value))
    except ValueError:
        return False
    return parts.username is None and (query or not (parts.query or parts.fragment))


def _hook(value: str) -> str:
    """Return `value` if it is an http or https address without a password."""
    if not _is_without_secret(value, query=True):
        raise PydanticCustomError(
            UNSHOWN,
            "It must be a URL such as https://ntfy.sh/TOPIC, without a user and a password. Put a "
            "token into the file /etc/hyperhive/credentials/notify/NAME, with the webhook's name",
        )
    return value


def _bare_url(remedy: str) -> AfterValidator:
    """Return a check for an http or https address without a user, a query or a fragment.

    Args:
        remedy: the end of the sentence for others: an example, and the place of the secret.
    """

    def check(value: str) -> str:
        if not _is_without_secret(value, query=False):
            raise PydanticCustomError(
                UNSHOWN, "It must be a URL such as {remedy}", {"remedy": remedy}
            )
        return value

    return AfterValidator(check)


def _forge(value: str) -> str:
    """Return the address of a forge without a slash at its end, if its host can be looked up."""
    try:
        egress.parse_host(urlsplit(value).hostname or "")
    except ValueError:
        raise ValueError(
            "its host must be a name such as forge.example.org, or an address"
        ) from None
    return value.rstrip("/")


Network = Annotated[str, AfterValidator(_network)]
"""An address, a network with its prefix length, or one of systemd's words for networks."""

ProxyAddress = Annotated[str, AfterValidator(_proxy)]
"""An address or a network of proxies."""

HeaderName = Annotated[str, AfterValidator(_header)]
"""The name of a header that a proxy adds."""

Tree = Annotated[str, AfterValidator(_tree)]
"""The absolute path of a directory that has a /usr."""

StorePath = Annotated[str, AfterValidator(_store_path)]
"""A path directly in the Nix store; empty for none."""

Url = Annotated[str, AfterValidator(_url)]
"""An http or https address with a host."""

ModelName = Annotated[str, AfterValidator(_model_name)]
"""The name of a model."""

AgentName = Annotated[str, AfterValidator(_agent)]
"""The name of an agent."""

Recipient = Annotated[str, AfterValidator(_recipient)]
"""A recipient of messages: the name of an agent, `manager`, `operator`, or `*`."""

ShortLine = Annotated[str, AfterValidator(_short_line)]
"""A text of 1 to 64 characters on one line."""

WebhookUrl = Annotated[str, AfterValidator(_hook)]
"""The address of a webhook, without a password."""

CollectorUrl = Annotated[
    str,
    _bare_url(
        "https://collector.example.org:4318, without a user, a password and a query. Put a token "
        "into the file /etc/hyperhive/credentials/telemetry/authorization"
    ),
]
"""The address of a collector of traces, without a password."""

UpstreamUrl = Annotated[
    str,
    _bare_url(
        "https://api.anthropic.com, without a user, a password and a query. Store a credential "
        "with `hivectl credentials set`"
    ),
    AfterValidator(lambda url: url.rstrip("/")),
]
"""The address of a Messages API, without /v1 and a password."""

ForgeUrl = Annotated[
    str,
    _bare_url(
        "https://forge.example.org, without a user, a password and a query. Store a token with "
        "`hivectl credentials set --forge NAME`"
    ),
    AfterValidator(_forge),
]
"""The address of a forge, without a password."""

AccountName = Annotated[str, AfterValidator(_account)]
"""The name of an account in a forge."""

NetworkMode = Literal["gateway", "host", "none"]
"""The network of a container."""

EgressRules = Annotated[
    tuple[Annotated[str, AfterValidator(egress.check)], ...], Field(max_length=egress.MAX_RULES)
]
"""A list of egress rules (`services.egress`), each in its usual form."""

CredentialName = Annotated[str, AfterValidator(_credential)]
"""The name of a credential of the gateway."""

Size = Annotated[int, BeforeValidator(_size), Field(ge=16 * 2**20, le=2**60)]
"""Bytes, or a text such as 512M or 4G."""

TransferSize = Annotated[int, BeforeValidator(_size), Field(ge=2**20, le=2**60)]
"""The bytes of a transfer, or a text such as 512M or 4G."""

Weight = Annotated[int, Field(ge=1, le=10_000)]
"""A share relative to the other agents; 100 is average."""

SleepAfter = Annotated[int, Field(ge=0, le=2592000)]
"""Idle seconds after which an agent is put to sleep; 0: never."""

TurnTimeout = Annotated[int, Field(ge=10, le=86400)]
"""Seconds after which a turn is cut off."""

StartTimeout = Annotated[int, Field(ge=10, le=600)]
"""Seconds that Claude Code has to start."""

Dollars = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]
"""A limit in dollars."""

BudgetTokens = Annotated[int, Field(ge=1, le=10**15)]
"""A limit in tokens."""

Price = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
"""Dollars for a million tokens."""
