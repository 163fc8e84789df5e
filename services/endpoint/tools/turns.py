"""The tool of the harness that records a turn: record_turn."""

from typing import Annotated, Final

from pydantic import Field

from services.endpoint.tools.arguments import Arguments
from services.endpoint.tools.tool import HARNESS, Context, Tool, ToolResult
from wire.names import MODEL_NAME
from wire.records.ledger import Turn

Count = Annotated[int, Field(ge=0, le=2**32)]
Tokens = Annotated[int, Field(ge=0, le=10**10)]
Milliseconds = Annotated[int, Field(ge=0, le=7 * 24 * 3600 * 1000)]
At = Annotated[float, Field(ge=0, le=2**33, allow_inf_nan=False)]
"""Seconds since 1970, up to the year 2242, which any calendar can show."""


class RecordTurnArguments(Arguments):
    """Arguments of `record_turn`; the ledger checks them further."""

    turn: Annotated[
        int, Field(ge=0, le=2**53 - 1, description="The harness's own number of the turn.")
    ]
    started: Annotated[At, Field(description="When it started, in seconds since 1970.")]
    ended: Annotated[At, Field(description="When it ended, in seconds since 1970.")]
    outcome: Annotated[
        str, Field(pattern=r"^[a-z][a-z-]{0,31}$", description="How it ended, in a word.")
    ]
    error: Annotated[
        str, Field(max_length=500, description="Why it failed, in a line; empty if it did not.")
    ] = ""
    model: Annotated[
        str, Field(pattern=f"^({MODEL_NAME.pattern})?$", description="The model that answered.")
    ] = ""
    session: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$", description="The id of its session.")
    ] = ""
    first_request_ms: Annotated[
        Milliseconds | None, Field(description="From its start to the first request to the API.")
    ] = None
    first_token_ms: Annotated[
        Milliseconds | None, Field(description="From its start to the first token of the answer.")
    ] = None
    input_tokens: Annotated[
        Tokens, Field(description="Tokens read by the model, with those of its cache.")
    ] = 0
    output_tokens: Annotated[Tokens, Field(description="Tokens written by the model.")] = 0
    cache_read_tokens: Annotated[Tokens, Field(description="Tokens read from the cache.")] = 0
    cache_write_tokens: Annotated[Tokens, Field(description="Tokens written to the cache.")] = 0
    context_tokens: Annotated[Tokens, Field(description="The size of the context after it.")] = 0
    cost_usd: Annotated[
        float, Field(ge=0, le=10_000, allow_inf_nan=False, description="Its cost in US dollars.")
    ] = 0.0
    tool_calls: Annotated[Count, Field(description="The calls of tools in it.")] = 0
    tools: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")], Count],
        Field(max_length=64, description="The calls of each tool, by its name."),
    ] = Field(default_factory=dict)
    denied: Annotated[Count, Field(description="The calls of tools that were denied, in all.")] = 0
    open_threads: Annotated[Count, Field(description="The open threads after it.")] = 0
    open_reminders: Annotated[Count, Field(description="The pending reminders after it.")] = 0

    def record(self) -> Turn:
        """Return the turn as the ledger takes it."""
        return Turn(
            turn=self.turn,
            started=_millionths(self.started),
            ended=_millionths(self.ended),
            outcome=self.outcome,
            error=self.error,
            model=self.model,
            session=self.session,
            first_request=(self.first_request_ms or 0) * 1000,
            first_token=(self.first_token_ms or 0) * 1000,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cache_read_tokens=self.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens,
            context_tokens=self.context_tokens,
            cost=_millionths(self.cost_usd),
            tool_calls=self.tool_calls,
            tools=self.tools,
            denied=self.denied,
            open_threads=self.open_threads,
            open_reminders=self.open_reminders,
        )


def _millionths(number: float) -> int:
    return round(number * 1_000_000)


async def _record_turn(context: Context, call: RecordTurnArguments) -> ToolResult:
    await context.services.record_turn(call.record())
    return ToolResult({})


TOOLS: Final = (
    Tool(
        "record_turn",
        "Record a turn that is over, with its costs, for the operator. A repeated call changes"
        " nothing. After an error, call it again later.",
        RecordTurnArguments,
        _record_turn,
        HARNESS,
    ),
)
