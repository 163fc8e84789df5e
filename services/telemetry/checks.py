"""The spans that agents hand over, checked against their record."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import AfterValidator, Field

from services.options import Options
from wire.errors import InvalidArgument, LimitExceeded
from wire.names import MODEL_NAME
from wire.records.telemetry import Span
from wire.trace import check_traceparent
from wire.types import Value

MAX_SPANS: Final = 64
"""The most spans of one call."""
MAX_LINKS: Final = 32
MAX_MESSAGES: Final = 64
SECOND: Final = 1_000_000
"""Microseconds."""
LONGEST: Final = 7 * 24 * 3600 * SECOND
"""The longest span, in microseconds."""
AHEAD: Final = 24 * 3600 * SECOND
"""The microseconds that a span may lie in the future, because the host's clock was set back."""

_LAST: Final = 2**63 - 1
"""The greatest integer of an attribute."""
_TOKENS: Final = Field(ge=0, le=10**10)
_WORD: Final = Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")
_ID: Final = Field(pattern=r"^[A-Za-z0-9_.:-]{0,128}$")
_MODEL: Final = Field(pattern=f"^({MODEL_NAME.pattern})?$")


def _links(links: list[str]) -> list[str]:
    if len(links) > MAX_LINKS:
        raise InvalidArgument(f"It has {len(links)} links: use at most {MAX_LINKS}.")
    return [check_traceparent(link) for link in links]


SPAN: Final = Options(
    Span,
    "key of a span",
    trace=Field(pattern=r"^[0-9a-f]{32}$"),
    span=Field(pattern=r"^[0-9a-f]{16}$"),
    parent=Field(pattern=r"^([0-9a-f]{16})?$"),
    links=AfterValidator(_links),
    started=Field(ge=0),
    ended=Field(ge=0),
    error=_WORD,
    session=_WORD,
    model=_MODEL,
    answered_by=_MODEL,
    answer=_ID,
    finish=_WORD,
    input_tokens=_TOKENS,
    output_tokens=_TOKENS,
    cache_read_tokens=_TOKENS,
    cache_write_tokens=_TOKENS,
    tool=Field(pattern=r"^[A-Za-z0-9_.:/-]{0,128}$"),
    call=_ID,
    turn=Field(ge=0, le=_LAST),
    messages=Field(max_length=MAX_MESSAGES),
    outcome=_WORD,
    cost=Field(ge=0, le=10**10),
)


def check_spans(spans: Sequence[Mapping[str, Value]], now: int) -> list[Span]:
    """Return the spans as records.

    Args:
        spans: the spans, as they came over the bus.
        now: the time, in microseconds since 1970.

    Raises:
        InvalidArgument: a value is not valid; the sentence names the span by its place.
        LimitExceeded: there are too many spans.
    """
    if len(spans) > MAX_SPANS:
        raise LimitExceeded(f"{len(spans)} spans are too many for one call: use {MAX_SPANS}.")
    return [_checked(place, values, now) for place, values in enumerate(spans, 1)]


def _checked(place: int, values: Mapping[str, Value], now: int) -> Span:
    try:
        span = SPAN.parse(values)
        _check(span, now)
    except InvalidArgument as error:
        raise InvalidArgument(f"Span {place} is not valid. {error}") from None
    return span


def _check(span: Span, now: int) -> None:
    if not int(span.trace, 16) or not int(span.span, 16):
        raise InvalidArgument("The ids of a trace and of a span are not 0: use random ones.")
    if not 0 <= span.ended - span.started <= LONGEST:
        raise InvalidArgument(
            f"It started at {span.started} and ended at {span.ended}: give microseconds since "
            f"1970, with 0 to {LONGEST // SECOND} s between them."
        )
    if span.ended > now + AHEAD:
        raise InvalidArgument(
            f"It ended at {span.ended}, which is in the future: give microseconds since 1970."
        )
    if not all(0 < number <= _LAST for number in span.messages):
        raise InvalidArgument(f"The ids of messages are 1 to {_LAST}.")
