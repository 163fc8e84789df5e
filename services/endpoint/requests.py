"""The tools by which the manager asks the operator: for an agent, or for a change of one."""

from typing import Annotated, Any, Final

from pydantic import Field

from services.endpoint.arguments import Arguments, Id, Name
from services.endpoint.tool import MANAGER, Context, Outcome, Tool

MAX_REASON: Final = 4000
MAX_CONFIG: Final = 64 * 1024


class RequestSpawn(Arguments):
    """Arguments of `request_spawn`."""

    name: Name
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REASON,
            description="Why the hive needs this agent. The operator decides by it.",
        ),
    ]
    config: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_CONFIG,
            description="The text of its first agent.toml, which the operator approves with it."
            " Without it the agent gets one that sets nothing.",
        ),
    ] = None


class RequestApply(Arguments):
    """Arguments of `request_apply_commit`."""

    agent: Name
    commit: Annotated[
        str,
        Field(
            pattern="^[0-9a-fA-F]{7,40}$",
            description="The hash of a commit in /agents/NAME, whole or at least 7 digits of it.",
        ),
    ]
    description: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REASON,
            description="What changes, and why. The operator decides by it, and it stays in the"
            " history; its first line is the title.",
        ),
    ]
    revert: Annotated[
        bool,
        Field(description="Whether the commit goes back to before what is deployed now."),
    ] = False


class Withdraw(Arguments):
    """Arguments of `withdraw_request`."""

    id: Annotated[Id, Field(description="The number of the request.")]


async def _request_spawn(context: Context, call: RequestSpawn) -> Outcome:
    options = {} if call.config is None else {"config": call.config}
    return Outcome({"request": await context.hive.request_spawn(call.name, call.reason, options)})


async def _request_apply(context: Context, call: RequestApply) -> Outcome:
    options: dict[str, Any] = {"revert": True} if call.revert else {}
    request = await context.hive.request_apply(
        call.agent, call.commit.lower(), call.description, options
    )
    return Outcome({"request": request})


async def _withdraw(context: Context, call: Withdraw) -> Outcome:
    await context.hive.withdraw(call.id)
    return Outcome({"request": call.id, "state": "withdrawn"})


TOOLS: Final = (
    Tool(
        "request_spawn",
        "Ask the operator for a new agent. Returns the number of the request at once; the agent"
        " exists only after the operator has approved. You get a message of kind"
        " approval-resolved then, so end your turn instead of waiting.",
        RequestSpawn,
        _request_spawn,
        MANAGER,
    ),
    Tool(
        "request_apply_commit",
        "Ask the operator to give an agent another configuration: a commit that you made in"
        " /agents/NAME, whose agent.toml is checked now. Returns the number of the request at"
        " once. It is about exactly this commit, whatever you change afterwards; a new request for"
        " the same agent replaces one that still waits. After approval the agent is built and,"
        " when its turn is over, restarted. You get a message of kind approval-resolved then, so"
        " end your turn instead of waiting; if it failed, the message has the end of the log, and"
        " the agent runs on as before.",
        RequestApply,
        _request_apply,
        MANAGER,
    ),
    Tool(
        "withdraw_request",
        "Take back a request that the operator has not decided about yet.",
        Withdraw,
        _withdraw,
        MANAGER,
    ),
)
