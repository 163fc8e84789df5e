"""The tools: their arguments, the rights that they need, and the calls that they make."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from services.assistant.clients import Hive
from services.assistant.rows import Json
from wire.credentials import AssistantRight
from wire.errors import InvalidArgument
from wire.records.approvals import ApprovalState
from wire.records.broker import QuestionState
from wire.records.ledger import CostKey

MAX_ROWS: Final = 100
MAX_LINES: Final = 200

Number = Annotated[int, Field(ge=1, lt=2**63)]
Name = Annotated[str, Field(max_length=32, description="The name of an agent.")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class Arguments(BaseModel):
    """The base of the arguments of all tools."""

    model_config = ConfigDict(extra="forbid")


class Nothing(Arguments):
    """No arguments."""


class OneAgent(Arguments):
    """An agent."""

    name: Name


class Messages(Arguments):
    """A page of messages."""

    agent: Name | None = None
    before: Annotated[
        Number | None, Field(description="Only messages with a smaller number, for older pages.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20


class Questions(Arguments):
    """Questions in a state."""

    state: Annotated[
        QuestionState | None, Field(description="Null for questions in all states.")
    ] = QuestionState.OPEN
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20


class Approvals(Arguments):
    """Requests in a state."""

    state: Annotated[
        ApprovalState | None, Field(description="Null for requests in all states.")
    ] = ApprovalState.PENDING
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = 20


class OneRequest(Arguments):
    """A request."""

    number: Number


class Logs(Arguments):
    """Lines about an agent."""

    name: Name
    lines: Annotated[int, Field(ge=1, le=MAX_LINES)] = 50


class Costs(Arguments):
    """Sums of costs."""

    by: CostKey = CostKey.AGENT
    agent: Name | None = None
    since: Annotated[
        str | None, Field(description="A date or time in ISO 8601; null for all that is kept.")
    ] = None


class Send(Arguments):
    """A message."""

    to: Annotated[str, Field(max_length=32, description="An agent, or * for all of them.")]
    body: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    in_reply_to: Annotated[Number | None, Field(description="The message that it answers.")] = None


class Answer(Arguments):
    """An answer."""

    number: Number
    answer: Annotated[
        list[str],
        Field(min_length=1, max_length=100, description="One of the choices, or a text; several "
              "entries only if the question allows several choices."),
    ]  # fmt: skip


class Approve(Arguments):
    """An approval of exactly the change that `approval_diff` has shown."""

    number: Number
    commit: Annotated[Commit, Field(description="The commit that approval_diff has shown.")]
    base: Annotated[
        str,
        Field(pattern=r"^([0-9a-f]{40})?$", description="The base that approval_diff has shown."),
    ]


class Deny(Arguments):
    """A denial."""

    number: Number
    commit: Annotated[Commit, Field(description="The commit that approval_diff has shown.")]
    note: Annotated[str, Field(max_length=10_000, description="Tells the manager why.")] = ""


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Tool(Generic[A]):
    """A tool."""

    name: str
    description: str
    arguments: type[A]
    run: Callable[[Hive, A], Awaitable[Json]]
    right: AssistantRight | None = None
    """The right that it needs; None for a tool that only reads."""
    told: tuple[str, ...] = ()
    """The arguments that the journal shows: none that is a text."""


async def _list_agents(hive: Hive, _wanted: Nothing) -> Json:
    return {"agents": [*await hive.agents()]}


async def _agent_status(hive: Hive, wanted: OneAgent) -> Json:
    return {"agent": await hive.agent(wanted.name)}


async def _list_messages(hive: Hive, wanted: Messages) -> Json:
    return {"messages": [*await hive.messages(wanted.agent, wanted.before, wanted.limit)]}


async def _list_questions(hive: Hive, wanted: Questions) -> Json:
    return {"questions": [*await hive.questions(wanted.state, wanted.limit)]}


async def _list_approvals(hive: Hive, wanted: Approvals) -> Json:
    return {"approvals": [*await hive.approvals(wanted.state, wanted.limit)]}


async def _approval_diff(hive: Hive, wanted: OneRequest) -> Json:
    return {"approval": await hive.diff(wanted.number)}


async def _agent_logs(hive: Hive, wanted: Logs) -> Json:
    return {"lines": await hive.logs(wanted.name, wanted.lines)}


async def _cost(hive: Hive, wanted: Costs) -> Json:
    costs = await hive.cost(wanted.by, wanted.agent, _micros(wanted.since))
    return {"costs": [*costs], "budgets": [*await hive.budgets()]}


async def _send_message(hive: Hive, wanted: Send) -> Json:
    return {"number": await hive.send(wanted.to, wanted.body, wanted.in_reply_to)}


async def _answer_question(hive: Hive, wanted: Answer) -> Json:
    await hive.answer(wanted.number, wanted.answer)
    return {"said": f"Question {wanted.number} is answered."}


async def _approve(hive: Hive, wanted: Approve) -> Json:
    job = await hive.approve(wanted.number, wanted.commit, wanted.base)
    return {"said": f"Request {wanted.number} is approved.", "job": job}


async def _deny(hive: Hive, wanted: Deny) -> Json:
    await hive.deny(wanted.number, wanted.commit, wanted.note)
    return {"said": f"Request {wanted.number} is denied."}


def _micros(text: str | None) -> int | None:
    """Return a date or time as microseconds since 1970; without a zone it is that of the host."""
    if text is None:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000_000)
    except (ValueError, OverflowError, OSError):
        raise InvalidArgument(
            f"since={text[:40]!r} is not a date or time: write it as 2026-11-29 or "
            "2026-11-29T12:00:00+00:00."
        ) from None


TOOLS: Final[tuple[Tool[Any], ...]] = (
    Tool("list_agents", "List the agents: state, current work, model.", Nothing, _list_agents),
    Tool("agent_status", "Return all facts about one agent.", OneAgent, _agent_status),
    Tool(
        "list_messages",
        "List the newest messages between agents and the operator, oldest first.",
        Messages,
        _list_messages,
    ),
    Tool(
        "list_questions",
        "List questions; those to `operator` wait for the operator.",
        Questions,
        _list_questions,
    ),
    Tool(
        "list_approvals",
        "List the requests of the manager to change agents, which the operator approves.",
        Approvals,
        _list_approvals,
    ),
    Tool(
        "approval_diff",
        "Return the change that a request asks for, with the commit and the base that an approval "
        "must name.",
        OneRequest,
        _approval_diff,
    ),
    Tool(
        "agent_logs",
        "Return the newest lines about an agent in the host's journal.",
        Logs,
        _agent_logs,
    ),
    Tool(
        "cost", "Sum costs and tokens by agent, day or model, and list the budgets.", Costs, _cost
    ),
    Tool(
        "send_message",
        "Send a message to an agent in the operator's name.",
        Send,
        _send_message,
        AssistantRight.SEND,
        ("to",),
    ),
    Tool(
        "answer_question",
        "Answer a question in the operator's name. For a permission this decides whether a tool "
        "runs.",
        Answer,
        _answer_question,
        AssistantRight.ANSWER,
        ("number",),
    ),
    Tool(
        "approve_request",
        "Approve a request: the change is deployed when the agent's turn is over. It is refused if "
        "the request is about another commit or base by now.",
        Approve,
        _approve,
        AssistantRight.APPROVE,
        ("number", "commit"),
    ),
    Tool(
        "deny_request",
        "Deny a request, with a note to the manager.",
        Deny,
        _deny,
        AssistantRight.APPROVE,
        ("number", "commit"),
    ),
)
