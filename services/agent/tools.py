"""The table of tools: name, description, arguments, what it does, and who sees it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from services.agent import arguments as takes
from services.agent.hive import Hive
from services.agent.inbox import Inbox
from services.agent.leases import Scope
from services.agent.reports import Reports
from wire import names
from wire.errors import Conflict, InvalidArgument
from wire.types import U64

HARNESS_CLIENT: Final = "hyperhive-harness"
"""The client name by which the harness asks for its own tools. It gains no right by it."""


class Audience(StrEnum):
    """For whom a connection asks."""

    AGENT = "agent"
    MANAGER = "manager"
    HARNESS = "harness"


def audience_of(agent: str, client: str) -> Audience:
    """Who sees the tools: the owner of the socket, or its harness."""
    if client == HARNESS_CLIENT:
        return Audience.HARNESS
    return Audience.MANAGER if agent == names.MANAGER else Audience.AGENT


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool works with: the hive, and the connection that calls."""

    hive: Hive
    inbox: Inbox
    reports: Reports
    scope: Scope
    audience: Audience
    agent: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a tool answers; `leased` are the messages that the client has once it has read this."""

    value: dict[str, Any]
    leased: list[int] = field(default_factory=list)


class Patience(StrEnum):
    """For what a call may wait long; of each kind only few may, in the whole endpoint."""

    NONE = "none"
    MESSAGES = "messages"
    JOBS = "jobs"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool."""

    name: str
    description: str
    arguments: type[takes.Arguments]
    run: Callable[[Context, Any], Awaitable[Outcome]]
    audience: frozenset[Audience]
    patience: Patience = Patience.NONE

    def describe(self) -> dict[str, Any]:
        """The tool as tools/list shows it."""
        return {
            "name": self.name,
            "description": self.description,
            "inputSchema": self.arguments.schema_for_clients(),
        }


async def _send(context: Context, call: takes.Send) -> Outcome:
    options: dict[str, Any] = {"urgent": True} if call.urgent else {}
    if call.in_reply_to is not None:
        options["in_reply_to"] = U64(call.in_reply_to)
    return Outcome({"id": await context.hive.send(call.to, call.body, options)})


async def _recv(context: Context, call: takes.Receive) -> Outcome:
    if context.audience is not Audience.HARNESS:
        await context.inbox.acknowledge_handed(context.scope)
    messages = await context.inbox.receive(context.scope, call.max, call.wait_seconds)
    return Outcome({"messages": messages}, leased=[message["id"] for message in messages])


async def _ack(context: Context, call: takes.Ids) -> Outcome:
    await context.inbox.acknowledge(context.scope, call.ids)
    return Outcome({})


async def _release(context: Context, call: takes.Ids) -> Outcome:
    await context.inbox.give_back(context.scope, call.ids)
    return Outcome({})


async def _list_agents(context: Context, call: takes.Nothing) -> Outcome:
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


async def _report(context: Context, call: takes.Report) -> Outcome:
    report = call.model_dump(exclude_none=True)
    if not report:
        raise InvalidArgument("A report says at least one thing.")
    await context.reports.take(context.scope, report)
    return Outcome({})


async def _request_spawn(context: Context, call: takes.RequestSpawn) -> Outcome:
    return Outcome({"request": await context.hive.request_spawn(call.name, call.reason)})


def _job(member: str) -> Callable[[Context, takes.OneAgent], Awaitable[Outcome]]:
    async def run(context: Context, call: takes.OneAgent) -> Outcome:
        job = await context.hive.run_job(call.name, member)
        if job.result != "done":
            raise Conflict(
                f"{member} of {call.name} {job.result}: {job.error or 'no reason given'}"
            )
        return Outcome({"name": call.name, "result": job.result})

    return run


_MODELS: Final = frozenset({Audience.AGENT, Audience.MANAGER})
_MANAGER: Final = frozenset({Audience.MANAGER})
_HARNESS: Final = frozenset({Audience.HARNESS})

TOOLS: Final = (
    Tool(
        "send",
        "Send a message to another agent, to the manager, or to the operator (the person who runs"
        " this hive). It is on disk when this returns its id, and is delivered even if the"
        " recipient is stopped now. The recipient reads it at the start of its next turn, and"
        " answers with a message of its own: do not wait for an answer inside this turn unless you"
        " need it now (then use recv).",
        takes.Send,
        _send,
        _MODELS,
    ),
    Tool(
        "recv",
        "Get the messages that wait for you, oldest first. Each has an id (give it as in_reply_to"
        " when you answer with send), from, kind, body, and redeliveries: when that is not 0 it was"
        " handed out before, so check whether you have acted on it already. Calling recv again"
        " acknowledges what the last call returned. An empty list means that there is nothing.",
        takes.Receive,
        _recv,
        frozenset(Audience),
        Patience.MESSAGES,
    ),
    Tool(
        "list_agents",
        "List the agents of this hive: name, state (running or not; messages to a stopped agent"
        " wait for it), turn_state (what it is doing now) and model. `you` is your own name.",
        takes.Nothing,
        _list_agents,
        _MODELS,
    ),
    Tool(
        "request_spawn",
        "Ask the operator for a new agent. Returns the number of the request at once; the agent"
        " exists only after the operator has approved. You get a message of kind"
        " approval-resolved then, so end your turn instead of waiting.",
        takes.RequestSpawn,
        _request_spawn,
        _MANAGER,
    ),
    Tool(
        "start",
        "Start a stopped agent, and return when it runs. Its messages have waited for it.",
        takes.OneAgent,
        _job("Start"),
        _MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "kill",
        "Stop a running agent at once. Messages it has not finished with are kept and come again"
        " after start.",
        takes.OneAgent,
        _job("Stop"),
        _MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "restart",
        "Stop and start an agent, and return when it runs again: for one that hangs or errs.",
        takes.OneAgent,
        _job("Restart"),
        _MANAGER,
        Patience.JOBS,
    ),
    Tool(
        "ack",
        "The turn is over: acknowledge these messages, and what the agent's other connections got"
        " by recv.",
        takes.Ids,
        _ack,
        _HARNESS,
    ),
    Tool(
        "release",
        "The turn has failed: queue these messages again, and what the agent's other connections"
        " got by recv.",
        takes.Ids,
        _release,
        _HARNESS,
    ),
    Tool(
        "report",
        "Tell the hive what the agent is doing. Only what has changed need be given.",
        takes.Report,
        _report,
        _HARNESS,
    ),
)


def tools_for(audience: Audience) -> dict[str, Tool]:
    """The tools that `audience` sees, by name."""
    return {tool.name: tool for tool in TOOLS if audience in tool.audience}
