"""The tools about agents: list_agents, and what the manager may do to the others."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final

from pydantic import Field

from services.endpoint.arguments import Arguments, Name, Nothing
from services.endpoint.tool import MANAGER, MODELS, Context, Outcome, Patience, Tool
from wire.errors import Conflict

MAX_LINES: Final = 200


class OneAgent(Arguments):
    """Arguments of `start`, `kill`, `restart` and `update`."""

    name: Name


class GetLogs(Arguments):
    """Arguments of `get_logs`."""

    name: Name
    lines: Annotated[
        int, Field(ge=1, le=MAX_LINES, description="How many of the newest lines to show.")
    ] = 50


async def _list_agents(context: Context, call: Nothing) -> Outcome:
    agents = [
        {
            "name": agent["Name"],
            "state": agent["State"],
            "turn_state": agent["TurnState"],
            "model": agent["Model"],
        }
        for agent in await context.hive.agents()
    ]
    return Outcome({"you": context.agent, "agents": agents})


async def _get_logs(context: Context, call: GetLogs) -> Outcome:
    return Outcome({"lines": await context.hive.logs(call.name, call.lines)})


def _job(member: str) -> Callable[[Context, OneAgent], Awaitable[Outcome]]:
    async def run(context: Context, call: OneAgent) -> Outcome:
        job = await context.hive.run_job(call.name, member)
        if job.result != "done":
            raise Conflict(
                f"{member} of {call.name} {job.result}: {job.error or 'no reason given'}"
            )
        return Outcome({"name": call.name, "result": job.result})

    return run


TOOLS: Final = (
    Tool(
        "list_agents",
        "List the agents of this hive: name, state (running or not; messages to a stopped agent"
        " wait for it), turn_state (what it is doing now) and model. `you` is your own name.",
        Nothing,
        _list_agents,
        MODELS,
    ),
    Tool(
        "start",
        "Start a stopped agent, and return when it runs. Its messages have waited for it.",
        OneAgent,
        _job("Start"),
        MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "kill",
        "Stop a running agent at once. Messages it has not finished with are kept and come again"
        " after start.",
        OneAgent,
        _job("Stop"),
        MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "restart",
        "Stop and start an agent, and return when it runs again: for one that hangs or errs. Look"
        " at get_logs first.",
        OneAgent,
        _job("Restart"),
        MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "update",
        "Bring an agent up to date with this version of Hyperhive, and put right what belongs to"
        " it. It is restarted only if another version has made its container.",
        OneAgent,
        _job("Update"),
        MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "get_logs",
        "See the newest lines that the host has logged about an agent: its container starting,"
        " ending and failing, and its connection to the hive. Use it to find out why an agent"
        " crashed or does not start. What the agent itself does is not in there: ask it.",
        GetLogs,
        _get_logs,
        MANAGER,
    ),
)
