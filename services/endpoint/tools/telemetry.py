"""The tools of the harness for traces: trace and record_spans."""

from typing import Annotated, Final, Literal

from pydantic import Field

from services.endpoint.tools.arguments import Arguments, Id
from services.endpoint.tools.tool import HARNESS, Context, Tool, ToolResult
from wire.names import MODEL_NAME
from wire.records.telemetry import Operation, Span
from wire.trace import check_traceparent

MAX_SPANS: Final = 64

At = Annotated[float, Field(ge=0, le=2**33, allow_inf_nan=False)]
"""Seconds since 1970, up to the year 2242."""
Count = Annotated[int, Field(ge=0, le=10**10)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]
LongId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{0,128}$")]
Model = Annotated[str, Field(pattern=f"^({MODEL_NAME.pattern})?$")]
Traceparent = Annotated[str, Field(max_length=64)]
"""As in W3C Trace Context; the function of the tool checks it."""


class Trace(Arguments):
    """Arguments of `trace`."""

    traceparent: Annotated[
        Traceparent,
        Field(description="The span of the turn, as in W3C Trace Context; empty after the turn."),
    ]


class SpanArguments(Arguments):
    """A span in the arguments of `record_spans`; telemetry checks it further."""

    trace: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="The id of its trace.")]
    span: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="Its own id.")]
    operation: Annotated[
        Literal["invoke_agent", "chat", "execute_tool"],
        Field(description="A turn, an answer of the model's API, or a call of a tool."),
    ]
    started: Annotated[At, Field(description="When it began, in seconds since 1970.")]
    ended: Annotated[At, Field(description="When it ended, in seconds since 1970.")]
    parent: Annotated[
        str, Field(pattern=r"^([0-9a-f]{16})?$", description="The id of the span above it.")
    ] = ""
    links: Annotated[
        list[Traceparent], Field(max_length=32, description="Further spans that led to it.")
    ] = Field(default_factory=list)
    error: Annotated[Word, Field(description="The kind of its error, in a word.")] = ""
    session: Annotated[Word, Field(description="The id of the session.")] = ""
    model: Annotated[Model, Field(description="The model that was asked for.")] = ""
    answered_by: Annotated[Model, Field(description="The model that answered.")] = ""
    answer: Annotated[LongId, Field(description="The API's id of the answer.")] = ""
    finish: Annotated[Word, Field(description="The reason why the answer ended.")] = ""
    input_tokens: Annotated[Count, Field(description="Tokens read, with those of the cache.")] = 0
    output_tokens: Annotated[Count, Field(description="Tokens written by the model.")] = 0
    cache_read_tokens: Annotated[Count, Field(description="Tokens read from the cache.")] = 0
    cache_write_tokens: Annotated[Count, Field(description="Tokens written to the cache.")] = 0
    tool: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.:/-]{0,128}$", description="The name of the tool.")
    ] = ""
    call: Annotated[LongId, Field(description="The id of the tool call.")] = ""
    turn: Annotated[
        int, Field(ge=0, le=2**53 - 1, description="The harness's own number of the turn.")
    ] = 0
    messages: Annotated[
        list[Id], Field(max_length=64, description="The messages that the turn had.")
    ] = Field(default_factory=list)
    outcome: Annotated[Word, Field(description="How the turn ended, in a word.")] = ""
    cost_usd: Annotated[
        float, Field(ge=0, le=10_000, allow_inf_nan=False, description="Its cost in US dollars.")
    ] = 0.0

    def record(self) -> Span:
        """Return the span as telemetry takes it."""
        values = self.model_dump(exclude={"operation", "started", "ended", "cost_usd"})
        return Span(
            operation=Operation(self.operation),
            started=_millionths(self.started),
            ended=_millionths(self.ended),
            cost=_millionths(self.cost_usd),
            **values,
        )


class RecordSpans(Arguments):
    """Arguments of `record_spans`."""

    spans: Annotated[
        list[SpanArguments], Field(min_length=1, max_length=MAX_SPANS, description="The spans.")
    ]


def _millionths(number: float) -> int:
    return round(number * 1_000_000)


async def _trace(context: Context, call: Trace) -> ToolResult:
    span = check_traceparent(call.traceparent) if call.traceparent else None
    context.span.enter(context.holder, span)
    return ToolResult({})


async def _record_spans(context: Context, call: RecordSpans) -> ToolResult:
    await context.services.record_spans([span.record() for span in call.spans])
    return ToolResult({})


TOOLS: Final = (
    Tool(
        "trace",
        "Set the span to which the agent's messages and questions belong from now on. Call it when"
        " a turn begins, and when it ends.",
        Trace,
        _trace,
        HARNESS,
    ),
    Tool(
        "record_spans",
        "Export spans that are over to the operator's collector of traces. They contain figures"
        " and names, and no texts. After an error, call it again later.",
        RecordSpans,
        _record_spans,
        HARNESS,
    ),
)
