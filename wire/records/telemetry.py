"""The records of org.hyperhive.Telemetry1. Times are microseconds since 1970."""

from enum import StrEnum
from typing import NamedTuple

from wire.records.codec import dictionary
from wire.types import Int64, Str, StrList, UInt64, UInt64List


class Operation(StrEnum):
    """The operation of a span, in the words of OpenTelemetry's conventions for generative AI."""

    INVOKE_AGENT = "invoke_agent"
    """A turn of the agent."""
    CHAT = "chat"
    """An answer of the model's API."""
    EXECUTE_TOOL = "execute_tool"
    """A call of a tool."""


@dictionary()
class Span(NamedTuple):
    """A span of an agent: figures and names, and no texts of prompts, messages or tools."""

    trace: Str
    """32 lower-case hexadecimal digits."""
    span: Str
    """16 lower-case hexadecimal digits."""
    operation: Operation
    started: Int64
    ended: Int64
    parent: Str = ""
    """The span above it in the trace; empty for the first one."""
    links: StrList = []  # noqa: RUF012 - a named tuple's default, which nothing changes
    """Further spans that led to it, each as a traceparent of W3C Trace Context."""
    error: Str = ""
    """The kind of the error, in a word; empty for none."""
    session: Str = ""
    """The id of the conversation with the model."""
    model: Str = ""
    """The model that was asked for."""
    answered_by: Str = ""
    """The model that answered."""
    answer: Str = ""
    """The API's id of the answer."""
    finish: Str = ""
    """The reason why the answer ended."""
    input_tokens: UInt64 = 0
    """All tokens that the model read, with those of its cache."""
    output_tokens: UInt64 = 0
    cache_read_tokens: UInt64 = 0
    cache_write_tokens: UInt64 = 0
    tool: Str = ""
    call: Str = ""
    """The id of the tool call."""
    turn: UInt64 = 0
    """The harness's number of the turn."""
    messages: UInt64List = []  # noqa: RUF012 - as above
    """The messages that a turn had."""
    outcome: Str = ""
    """The end of a turn, in a word."""
    cost: UInt64 = 0
    """Millionths of a US dollar."""
