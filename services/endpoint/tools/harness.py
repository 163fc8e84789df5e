"""The tools of the harness: ack, release and report."""

from typing import Annotated, Final, Literal

from pydantic import Field

from services.endpoint.tools.arguments import Arguments, Id
from services.endpoint.tools.tool import HARNESS, Context, Tool, ToolResult
from wire.errors import InvalidArgument
from wire.names import MODEL_NAME
from wire.records.lifecycle import Report


class Ids(Arguments):
    """Arguments of `ack` and `release`."""

    ids: Annotated[
        list[Id], Field(max_length=1000, description="Ids of messages that recv returned.")
    ]


class ReportArguments(Arguments):
    """Arguments of `report`."""

    turn_state: Annotated[
        Literal["idle", "thinking", "error", "needs-login"] | None,
        Field(description="What the harness is doing now."),
    ] = None
    model: Annotated[
        Annotated[str, Field(pattern=f"^{MODEL_NAME.pattern}$")] | None,
        Field(description="The model of its turns."),
    ] = None
    context_tokens: Annotated[
        Annotated[int, Field(ge=0, le=2**53 - 1)] | None,
        Field(description="How many tokens the context holds."),
    ] = None
    logged_in: Annotated[
        bool | None, Field(description="Whether the harness has credentials for the model.")
    ] = None


async def _ack(context: Context, call: Ids) -> ToolResult:
    await context.inbox.acknowledge(context.holder, call.ids)
    return ToolResult({})


async def _release(context: Context, call: Ids) -> ToolResult:
    await context.inbox.give_back(context.holder, call.ids)
    return ToolResult({})


async def _report(context: Context, call: ReportArguments) -> ToolResult:
    report = Report(call.turn_state, call.model, call.context_tokens, call.logged_in)
    if report == Report():
        raise InvalidArgument("The report is empty: give at least one argument.")
    await context.reports.send(context.holder, report)
    return ToolResult({})


TOOLS: Final = (
    Tool(
        "ack",
        "Acknowledge these messages, and those that the agent's other connections got from recv."
        " Call it when the turn is over.",
        Ids,
        _ack,
        HARNESS,
    ),
    Tool(
        "release",
        "Queue these messages again, and those that the agent's other connections got from recv."
        " Call it when the turn has failed.",
        Ids,
        _release,
        HARNESS,
    ),
    Tool(
        "report",
        "Report what the agent is doing to the hive. Give only what has changed.",
        ReportArguments,
        _report,
        HARNESS,
    ),
)
