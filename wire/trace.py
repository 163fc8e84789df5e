"""The header `traceparent` of W3C Trace Context: which span of which trace sends a message.

    00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01

are the version, the trace, the span and the flags, each in lower-case hexadecimal digits.
"""

import re
from typing import Final, NamedTuple

from wire.errors import InvalidArgument

_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-0[01]"
)


class SpanContext(NamedTuple):
    """A span, by the ids of its trace and of itself."""

    trace: str
    span: str


def parse_traceparent(text: str) -> SpanContext:
    """Return the span that `text` names.

    Raises:
        InvalidArgument: it is not a valid traceparent; the sentence names the value and the rule.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None:
        raise InvalidArgument(
            f"{text[:60]!r} is not a valid traceparent. Use one of W3C Trace Context, version 00: "
            "00-TRACE-SPAN-01, with 32 and 16 lower-case hexadecimal digits that are not all 0."
        )
    return SpanContext(found["trace"], found["span"])


def check_traceparent(text: str) -> str:
    """Return `text` if it is a valid traceparent.

    Raises:
        InvalidArgument: it is not.
    """
    parse_traceparent(text)
    return text
