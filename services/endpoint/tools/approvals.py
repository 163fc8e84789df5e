"""The tools with which the manager asks the operator to approve new agents and changes."""

from typing import Annotated, Final

from pydantic import Field

from services.endpoint.tools.arguments import Arguments, Id, Name
from services.endpoint.tools.tool import MANAGER, Context, Tool, ToolResult
from wire.records.approvals import ApplyRequestOptions, SpawnRequestOptions

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
            description="Why the hive needs this agent. The operator reads it to decide.",
        ),
    ]
    config: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_CONFIG,
            description="The text of the agent's first agent.toml, which the operator approves"
            " together with the agent. Without it, the agent gets an agent.toml that sets nothing.",
        ),
    ] = None


class RequestApply(Arguments):
    """Arguments of `request_apply_commit`."""

    agent: Name
    commit: Annotated[
        str,
        Field(
            pattern="^[0-9a-fA-F]{7,40}$",
            description="The hash of a commit in /agents/NAME, at least its first 7 digits.",
        ),
    ]
    description: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_REASON,
            description="What changes, and why; the first line is the title. The operator reads it"
            " to decide, and it stays in the history.",
        ),
    ]
    revert: Annotated[
        bool,
        Field(
            description="Set it to go back to an older commit, which is not based on the deployed "
            "one."
        ),
    ] = False


class Withdraw(Arguments):
    """Arguments of `withdraw_request`."""

    id: Annotated[Id, Field(description="The id of the request.")]


async def _request_spawn(context: Context, call: RequestSpawn) -> ToolResult:
    options = SpawnRequestOptions(config=call.config)
    request = await context.services.request_spawn(call.name, call.reason, options)
    return ToolResult({"request": request})


async def _request_apply(context: Context, call: RequestApply) -> ToolResult:
    options = ApplyRequestOptions(revert=call.revert)
    request = await context.services.request_apply(
        call.agent, call.commit.lower(), call.description, options
    )
    return ToolResult({"request": request})


async def _withdraw(context: Context, call: Withdraw) -> ToolResult:
    await context.services.withdraw(call.id)
    return ToolResult({"request": call.id, "state": "withdrawn"})


TOOLS: Final = (
    Tool(
        "request_spawn",
        "Ask the operator for a new agent. Returns the request's id at once; the agent exists only"
        " after the operator has approved the request. You then get a message of kind"
        " approval-resolved, so end your turn instead of waiting.",
        RequestSpawn,
        _request_spawn,
        MANAGER,
    ),
    Tool(
        "request_apply_commit",
        "Ask the operator to give an agent another configuration: a commit that you made in"
        " /agents/NAME. Its agent.toml is checked now. Returns the request's id at once. The"
        " request is about exactly this commit, whatever you change afterwards. A new request for"
        " the same agent replaces one that is still waiting. After approval the agent is built, and"
        " is restarted when its turn is over. You then get a message of kind approval-resolved, so"
        " end your turn instead of waiting. If the deployment failed, the message contains the end"
        " of the log, and the agent keeps running with its old configuration.",
        RequestApply,
        _request_apply,
        MANAGER,
    ),
    Tool(
        "withdraw_request",
        "Withdraw a request that the operator has neither approved nor denied yet.",
        Withdraw,
        _withdraw,
        MANAGER,
    ),
)
