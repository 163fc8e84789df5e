"""Spans, and the header `traceparent` of W3C Trace Context, which names one."""

import re
import secrets
from dataclasses import dataclass, field, fields
from typing import Final

from harness.jsonvalues import JsonObject

_TRACEPARENT: Final = re.compile(
    r"00-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-0[01]"
)


def parse_traceparent(text: str | None) -> tuple[str, str] | None:
    """Return the ids of the trace and of the span that `text` names; None if it names none."""
    found = _TRACEPARENT.fullmatch(text or "")
    return (found["trace"], found["span"]) if found else None


def new_trace() -> str:
    """Return the id of a new trace."""
    return secrets.token_hex(16)


def _new_span() -> str:
    return secrets.token_hex(8)


@dataclass
class Span:
    """A span. Times are in seconds since 1970; `ended` is 0 until it ends.

    Attributes:
        operation: `invoke_agent`, `chat` or `execute_tool`.
        links: Further spans that led to it, as traceparents.
        error: The kind of the error, in a word.
        model: The model that was asked for.
        answered_by: The model that answered.
        answer: The API's id of the answer.
        finish: The reason why the answer ended.
        input_tokens: All tokens that the model read, with those of its cache.
    """

    operation: str
    trace: str
    started: float
    parent: str = ""
    span: str = field(default_factory=_new_span)
    ended: float = 0.0
    links: list[str] = field(default_factory=list)
    error: str = ""
    session: str = ""
    model: str = ""
    answered_by: str = ""
    answer: str = ""
    finish: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    tool: str = ""
    call: str = ""
    turn: int = 0
    messages: list[int] = field(default_factory=list)
    outcome: str = ""
    cost_usd: float = 0.0

    @property
    def traceparent(self) -> str:
        """The span as W3C Trace Context writes it."""
        return f"00-{self.trace}-{self.span}-01"

    def arguments(self) -> JsonObject:
        """Return the span as the hive takes it: its fields that are not empty."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in given.items() if value}
