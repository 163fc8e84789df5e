"""The tools of the harness: ack, release, report and command_done."""

from typing import Annotated, Final, Literal

from pydantic import Field

from services.endpoint.tools.arguments import Arguments, Id, NoArguments
from services.endpoint.tools.tool import HARNESS, Context, Tool, ToolResult
from wire.errors import InvalidArgument, NotFound
from wire.names import MODEL_NAME
from wire.records.lifecycle import CommandResult, Report
from wire.text.urls import MAX_URL

Text = Annotated[str, Field(max_length=4000)]
"""A text of the harness for the operator. Lifecycle keeps the beginning, on one line."""

Seconds = Annotated[int, Field(ge=0, le=2**33)]
"""A time in seconds since 1970, up to the year 2242, which any calendar can show."""


Ids = Annotated[list[Id], Field(max_length=1000, description="Ids of messages that recv returned.")]


class Acknowledge(Arguments):
    """Arguments of `ack`."""

    ids: Ids
    cancelled: Annotated[
        bool, Field(description="Whether the turn that had the messages was cancelled.")
    ] = False


class Release(Arguments):
    """Arguments of `release`."""

    ids: Ids
    reason: Annotated[
        Text,
        Field(
            description="Why; it is kept with the messages, on one line of 300 characters. The"
            " sender of a message that is given up, and the operator, are told."
        ),
    ] = ""
    uncounted: Annotated[
        bool,
        Field(
            description="Whether the delivery does not count as an attempt, because the messages"
            " did not make the turn fail. After 20 such deliveries of a message, further ones"
            " count."
        ),
    ] = False


class ReportArguments(Arguments):
    """Arguments of `report`."""

    turn_state: Annotated[
        Literal["idle", "thinking", "compacting", "waiting", "rate-limited", "needs-login", "error"]
        | None,
        Field(description="What the harness is doing now."),
    ] = None
    reason: Annotated[
        Text | None,
        Field(description="Why it is in that state; a new turn_state ends the one before."),
    ] = None
    until: Annotated[
        Seconds | None,
        Field(description="When the state ends by itself, in seconds since 1970; 0 for never."),
    ] = None
    activity: Annotated[
        Text | None, Field(description="The current tool, or empty; the hive keeps one line.")
    ] = None
    model: Annotated[
        Annotated[str, Field(pattern=f"^{MODEL_NAME.pattern}$")] | None,
        Field(description="The model that answered last."),
    ] = None
    model_setting: Annotated[
        Annotated[str, Field(pattern=f"^({MODEL_NAME.pattern})?$")] | None,
        Field(description="The model for which the turns ask; empty for Claude Code's choice."),
    ] = None
    context_tokens: Annotated[
        Annotated[int, Field(ge=0, le=2**53 - 1)] | None,
        Field(description="How many tokens the context holds."),
    ] = None
    logged_in: Annotated[
        bool | None, Field(description="Whether the harness has credentials for the model.")
    ] = None
    effort: Annotated[
        Annotated[str, Field(pattern="^[a-z0-9-]{0,32}$")] | None,
        Field(description="The level of effort of its turns; empty for the default."),
    ] = None
    context_limit: Annotated[
        Annotated[int, Field(ge=0, le=2**53 - 1)] | None,
        Field(description="How many tokens the context can hold."),
    ] = None
    session: Annotated[
        Annotated[str, Field(pattern="^[A-Za-z0-9_.-]{0,64}$")] | None,
        Field(description="The id of the session."),
    ] = None
    credential: Annotated[
        Literal["key", "login", "scripted", "none"] | None,
        Field(description="The kind of credentials for the model: the hive's key, or a login."),
    ] = None
    provider_limit_until: Annotated[
        Seconds | None,
        Field(
            description="The provider answers no request with these credentials before this time,"
            " in seconds since 1970."
        ),
    ] = None
    in_turn: Annotated[
        bool | None, Field(description="Whether a turn runs; the turn_state alone may not tell.")
    ] = None


class CommandDone(Arguments):
    """Arguments of `command_done`."""

    id: Annotated[Id, Field(description="The id of the command.")]
    text: Annotated[
        Text, Field(description="What was done, for the operator: one sentence of 500 characters.")
    ] = ""
    error: Annotated[
        Text, Field(description="Why the command was not carried out; empty when it was.")
    ] = ""
    login: Annotated[
        int, Field(ge=0, le=2**53 - 1, description="The number of the login that was begun.")
    ] = 0
    address: Annotated[
        str, Field(max_length=MAX_URL, description="The address of the page of that login.")
    ] = ""


async def _ack(context: Context, call: Acknowledge) -> ToolResult:
    await context.inbox.acknowledge(context.holder, call.ids, cancelled=call.cancelled)
    return ToolResult({})


async def _release(context: Context, call: Release) -> ToolResult:
    await context.inbox.give_back(
        context.holder, call.ids, reason=call.reason, uncounted=call.uncounted
    )
    return ToolResult({})


async def _report(context: Context, call: ReportArguments) -> ToolResult:
    report = Report(
        turn_state=call.turn_state,
        model=call.model,
        model_setting=call.model_setting,
        context_tokens=call.context_tokens,
        logged_in=call.logged_in,
        reason=call.reason,
        until=_microseconds(call.until),
        activity=call.activity,
        effort=call.effort,
        context_limit=call.context_limit,
        session=call.session,
        credential=call.credential,
        provider_limit_until=_microseconds(call.provider_limit_until),
        in_turn=call.in_turn,
    )
    if report == Report():
        raise InvalidArgument("The report is empty: give at least one argument.")
    await context.reports.send(context.holder, report)
    return ToolResult({})


async def _command_done(context: Context, call: CommandDone) -> ToolResult:
    result = CommandResult(call.text, call.error, call.login, call.address)
    await context.services.command_done(call.id, result)
    return ToolResult({})


async def _describe(context: Context, call: NoArguments) -> ToolResult:
    agents = await context.services.agents()
    agent = next((each for each in agents if each.name == context.agent), None)
    if agent is None:
        raise NotFound(f"The hive does not know the agent {context.agent}.")
    limits = {key: value for key, value in agent.resources._asdict().items() if value is not None}
    return ToolResult(
        {
            "model": agent.model,
            "limits": limits,
            "network": {
                "mode": agent.network.mode.value,
                "egress": list(agent.network.egress),
                "denied": list(agent.network.deny),
                "allowed": list(agent.network.allow),
                "name_servers": list(agent.network.name_servers),
                "enforced": agent.network.filtered,
            },
        }
    )


def _microseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1_000_000


TOOLS: Final = (
    Tool(
        "ack",
        "Acknowledge these messages, and those that the agent's other connections got from recv."
        " Call it when the turn is over.",
        Acknowledge,
        _ack,
        HARNESS,
    ),
    Tool(
        "release",
        "Queue these messages again, and those that the agent's other connections got from recv."
        " Call it when the turn has failed.",
        Release,
        _release,
        HARNESS,
    ),
    Tool(
        "report",
        "Report the state of the agent to the hive. Give only the values that have changed.",
        ReportArguments,
        _report,
        HARNESS,
    ),
    Tool(
        "describe",
        "Return this agent's model, the limits of its container and the addresses that it may"
        " reach.",
        NoArguments,
        _describe,
        HARNESS,
    ),
    Tool(
        "command_done",
        "Answer a command, which came as the notification notifications/hyperhive/command. Give"
        " the error alone if the command was not carried out.",
        CommandDone,
        _command_done,
        HARNESS,
    ),
)
