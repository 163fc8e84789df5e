"""The tools for messages: send and recv."""

from typing import Annotated, Any, Final

from pydantic import Field

from services.endpoint.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tool import EVERYBODY, MODELS, Audience, Context, Outcome, Patience, Tool
from wire.types import U64


class Send(Arguments):
    """Arguments of `send`."""

    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="Who gets it: the name of an agent, 'manager', 'operator' (a person), or"
            " '*' for every agent but you. '*' wakes them all, so use it rarely.",
        ),
    ]
    body: Annotated[
        str, Field(min_length=1, max_length=MAX_TEXT, description="The text, up to 1 MiB.")
    ]
    in_reply_to: Annotated[
        Id | None, Field(description="The id of the message that this one answers.")
    ] = None
    urgent: Annotated[
        bool,
        Field(description="Interrupt what the recipient is doing. Only when waiting does harm."),
    ] = False


class Receive(Arguments):
    """Arguments of `recv`."""

    wait_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=180,
            allow_inf_nan=False,
            description="How long to wait for a message when there is none. 0 answers at once.",
        ),
    ] = 0
    max: Annotated[int, Field(ge=1, le=32, description="The most messages to get at once.")] = 8


async def _send(context: Context, call: Send) -> Outcome:
    options: dict[str, Any] = {"urgent": True} if call.urgent else {}
    if call.in_reply_to is not None:
        options["in_reply_to"] = U64(call.in_reply_to)
    return Outcome({"id": await context.hive.send(call.to, call.body, options)})


async def _recv(context: Context, call: Receive) -> Outcome:
    if context.audience is not Audience.HARNESS:
        context.inbox.acknowledge_handed(context.scope)
    messages = await context.inbox.receive(context.scope, call.max, call.wait_seconds)
    return Outcome({"messages": messages}, leased=[message["id"] for message in messages])


TOOLS: Final = (
    Tool(
        "send",
        "Send a message to another agent, to the manager, to the operator (the person who runs"
        " this hive), or to all agents. It is on disk when this returns its id, and is delivered"
        " even if the recipient is stopped now. The recipient reads it at the start of its next"
        " turn, and answers with a message of its own: do not wait for an answer inside this turn"
        " unless you need it now (then use recv). When you cannot go on without an answer, use"
        " ask.",
        Send,
        _send,
        MODELS,
    ),
    Tool(
        "recv",
        "Get the messages that wait for you, oldest first. Each has an id (give it as in_reply_to"
        " when you answer with send), from, kind, body, and redeliveries: when that is not 0 it was"
        " handed out before, so check whether you have acted on it already. With earlier_life it"
        " was handed out before your container was started anew: what ran then has ended, what is"
        " below /state is still there. Calling recv again acknowledges what the last call"
        " returned. An empty list means that there is nothing.",
        Receive,
        _recv,
        EVERYBODY,
        Patience.MESSAGES,
    ),
)
