"""The tools of the harness: ack, release and report."""

from typing import Annotated, Final, Literal

from pydantic import Field

from services.endpoint.arguments import Arguments, Id
from services.endpoint.tool import HARNESS, Context, Outcome, Tool
from wire.errors import InvalidArgument


class Ids(Arguments):
    """Arguments of `ack` and `release`."""

    ids: Annotated[
        list[Id], Field(max_length=1000, description="Ids of messages that recv returned.")
    ]


class Report(Arguments):
    """Arguments of `report`."""

    turn_state: Annotated[
        Literal["idle", "thinking", "error", "needs-login"] | None,
        Field(description="What the harness does now."),
    ] = None
    model: Annotated[
        Annotated[str, Field(max_length=128)] | None, Field(description="The model of its turns.")
    ] = None
    context_tokens: Annotated[
        Annotated[int, Field(ge=0, le=2**53 - 1)] | None,
        Field(description="How full the context is."),
    ] = None
    logged_in: Annotated[bool | None, Field(description="Whether there are credentials.")] = None


async def _ack(context: Context, call: Ids) -> Outcome:
    await context.inbox.acknowledge(context.scope, call.ids)
    return Outcome({})


async def _release(context: Context, call: Ids) -> Outcome:
    await context.inbox.give_back(context.scope, call.ids)
    return Outcome({})


async def _report(context: Context, call: Report) -> Outcome:
    report = call.model_dump(exclude_none=True)
    if not report:
        raise InvalidArgument("A report says at least one thing.")
    await context.reports.take(context.scope, report)
    return Outcome({})


TOOLS: Final = (
    Tool(
        "ack",
        "The turn is over: acknowledge these messages, and what the agent's other connections got"
        " by recv.",
        Ids,
        _ack,
        HARNESS,
    ),
    Tool(
        "release",
        "The turn has failed: queue these messages again, and what the agent's other connections"
        " got by recv.",
        Ids,
        _release,
        HARNESS,
    ),
    Tool(
        "report",
        "Tell the hive what the agent is doing. Only what has changed need be given.",
        Report,
        _report,
        HARNESS,
    ),
)
