"""The hosts, reports and filters that callers pass, checked."""

from collections.abc import Iterable
from typing import Final, TypeVar

from pydantic import Field

from services import egress
from services.ledger.turns.checks import AHEAD
from services.options import Options
from wire.errors import InvalidArgument
from wire.names import AGENT_NAME
from wire.records.ledger import EgressFilter, EgressReport

E = TypeVar("E")

MAX_REASON: Final = 300
"""The most characters of an agent's reason that are kept."""

_COUNT: Final = Field(le=2**31)
_BYTES: Final = Field(le=2**50)

REPORT: Final = Options(
    EgressReport,
    "key of ReportEgress",
    host=Field(max_length=egress.MAX_NAME),
    port=Field(ge=1, le=65535),
    connections=_COUNT,
    sent=_BYTES,
    received=_BYTES,
)
FILTER: Final = Options(
    EgressFilter,
    "filter of ListEgress",
    agent=Field(pattern=f"^{AGENT_NAME.pattern}$"),
    since=Field(ge=0, le=2**62 + AHEAD),
)


def host(text: str) -> str:
    """Return a host in its usual form.

    Raises:
        InvalidArgument: it is not the name of a host, or an address.
    """
    try:
        return str(egress.parse_host(text))
    except ValueError as error:
        raise InvalidArgument(f"{text[:64]!r} is not a valid host: {error}.") from None


def rules(texts: Iterable[str]) -> tuple[egress.Rule, ...]:
    """Return the rules of an agent.

    Raises:
        InvalidArgument: one is not a rule.
    """
    found = []
    for text in texts:
        try:
            found.append(egress.parse(text))
        except ValueError as error:
            raise InvalidArgument(f"{text[:64]!r} is not a valid rule: {error}.") from None
    return tuple(found)


def port(number: int) -> None:
    """Check the number of a port.

    Raises:
        InvalidArgument: it is 0.
    """
    if not number:
        raise InvalidArgument("0 is not a valid port: use a number from 1 to 65535.")


def line(text: str) -> str:
    """Return an agent's reason as one line of plain text."""
    plain = "".join(c if c.isprintable() else " " for c in text[: 4 * MAX_REASON])
    return " ".join(plain.split())[:MAX_REASON]
