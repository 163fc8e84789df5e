"""The tools for agents: list_agents, and those with which the manager controls the others."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from pydantic import Field

from services.endpoint.tools.arguments import Arguments, Name, NoArguments
from services.endpoint.tools.tool import MANAGER, MODELS, Context, LongCall, Tool, ToolResult
from wire.errors import Conflict
from wire.records.lifecycle import CancelOptions, JobResult, JobVerb

MAX_LINES: Final = 200


class OneAgent(Arguments):
    """Arguments of `start`, `kill`, `restart` and `update`."""

    name: Name


class GetLogs(Arguments):
    """Arguments of `get_logs`."""

    name: Name
    lines: Annotated[
        int, Field(ge=1, le=MAX_LINES, description="How many of the newest lines to return.")
    ] = 50


class CancelTurn(Arguments):
    """Arguments of `cancel_turn`."""

    name: Name
    requeue: Annotated[
        bool,
        Field(description="Queue the turn's messages again, instead of acknowledging them."),
    ] = False


_ENDINGS: Final = {JobResult.FAILED: "failed", JobResult.CANCELLED: "was cancelled"}


async def _list_agents(context: Context, call: NoArguments) -> ToolResult:
    agents = [
        {
            "name": agent.name,
            "state": agent.state,
            "turn_state": agent.turn_state,
            "model": agent.model,
        }
        for agent in await context.services.agents()
    ]
    return ToolResult({"you": context.agent, "agents": agents})


async def _get_logs(context: Context, call: GetLogs) -> ToolResult:
    return ToolResult({"lines": await context.services.logs(call.name, call.lines)})


async def _cancel_turn(context: Context, call: CancelTurn) -> ToolResult:
    try:
        await context.services.cancel_turn(call.name, CancelOptions(call.requeue))
    except Conflict:
        # The sentence is the other agent's; this one must not read it as the hive's.
        raise Conflict(
            f"The turn of {call.name} was not cancelled; list_agents shows what it is doing."
        ) from None
    return ToolResult({"name": call.name, "result": "cancelled"})


def _run_job(verb: JobVerb) -> Callable[[Context, OneAgent], Awaitable[ToolResult]]:
    async def run(context: Context, call: OneAgent) -> ToolResult:
        job = await context.services.run_job(call.name, verb)
        if job.result is not JobResult.DONE:
            raise Conflict(
                f"The {verb} of {call.name} {_ENDINGS[job.result]}: {job.note or 'no reason given'}"
            )
        return ToolResult({"name": call.name, "result": job.result})

    return run


TOOLS: Final = (
    Tool(
        "list_agents",
        "List the agents of this hive. Each has a name, a state (messages to an agent that is not"
        " running are kept until it starts), a turn_state (what it is doing now) and a model. `you`"
        " is your own name.",
        NoArguments,
        _list_agents,
        MODELS,
    ),
    Tool(
        "start",
        "Start a stopped agent. Returns when the agent is running; it then gets the messages that"
        " were kept for it.",
        OneAgent,
        _run_job(JobVerb.START),
        MANAGER,
        LongCall.JOBS,
    ),
    Tool(
        "kill",
        "Stop a running agent at once. Messages that it has not finished with are kept, and are"
        " delivered again after start.",
        OneAgent,
        _run_job(JobVerb.STOP),
        MANAGER,
        LongCall.JOBS,
    ),
    Tool(
        "restart",
        "Stop and start an agent that hangs or misbehaves. Returns when the agent is running again."
        " Look at get_logs first.",
        OneAgent,
        _run_job(JobVerb.RESTART),
        MANAGER,
        LongCall.JOBS,
    ),
    Tool(
        "update",
        "Update an agent to this version of Hyperhive. It is restarted, at once, only if another"
        " version created its container.",
        OneAgent,
        _run_job(JobVerb.UPDATE),
        MANAGER,
        LongCall.JOBS,
    ),
    Tool(
        "cancel_turn",
        "Interrupt the turn of an agent. Its session is kept, and its next message begins a new"
        " turn. The turn's messages are done with the state cancelled, or queued again with"
        " requeue.",
        CancelTurn,
        _cancel_turn,
        MANAGER,
        LongCall.JOBS,
    ),
    Tool(
        "get_logs",
        "Return the newest lines in the host's log about an agent: starts, stops and failures of"
        " its container, and its connection to the hive. Use it to find out why an agent crashed or"
        " does not start. The log does not show what the agent itself does: ask the agent.",
        GetLogs,
        _get_logs,
        MANAGER,
    ),
)
