"""The tools for messages: send, unsend and recv."""

from typing import Annotated, Final

from pydantic import Field

from services.endpoint.jsonvalues import JsonObject
from services.endpoint.tools.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tools.tool import (
    AGENT,
    HARNESS,
    MANAGER,
    MODELS,
    Audience,
    Context,
    LongCall,
    Tool,
    ToolResult,
)
from wire.records.broker import Message, SendOptions


class Send(Arguments):
    """Arguments of `send`."""

    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="The recipient: the name of an agent, 'manager', 'operator' (a person), or"
            " '*' for every agent except you. '*' wakes all of them, so use it rarely.",
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
        Field(
            description="Set it for a message that cannot wait. If the recipient is in a turn, it"
            " reads the message in that turn, as soon as the tool call that runs has ended."
            " Otherwise the message starts a turn, before your other messages."
        ),
    ] = False


class ManagerSend(Send):
    """Arguments of `send` for the manager."""

    interrupt: Annotated[
        bool,
        Field(
            description="With urgent: cancel the tool call that runs, so that the recipient reads"
            " the message at once. Its turn goes on with the message; the tool call is not"
            " repeated."
        ),
    ] = False


class Unsend(Arguments):
    """Arguments of `unsend`."""

    id: Annotated[Id, Field(description="The id that send returned.")]


class Receive(Arguments):
    """Arguments of `recv`."""

    wait_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=180,
            allow_inf_nan=False,
            description="How long to wait when there is no message. 0 returns at once.",
        ),
    ] = 0
    max: Annotated[int, Field(ge=1, le=32, description="The most messages to return.")] = 8


class HarnessReceive(Receive):
    """Arguments of `recv` for the harness."""

    urgent_only: Annotated[
        bool, Field(description="Return urgent messages alone; the others stay queued.")
    ] = False


async def _send(context: Context, call: Send) -> ToolResult:
    interrupt = isinstance(call, ManagerSend) and call.interrupt
    options = SendOptions(
        in_reply_to=call.in_reply_to,
        urgent=call.urgent,
        interrupt=interrupt,
        traceparent=context.span.traceparent,
    )
    return ToolResult({"id": await context.services.send(call.to, call.body, options)})


async def _unsend(context: Context, call: Unsend) -> ToolResult:
    await context.services.retract(call.id)
    return ToolResult({})


async def _recv(context: Context, call: Receive) -> ToolResult:
    if context.audience is not Audience.HARNESS:
        context.inbox.acknowledge_delivered(context.holder)
    urgent = isinstance(call, HarnessReceive) and call.urgent_only
    messages = await context.inbox.receive(
        context.holder, call.max, call.wait_seconds, urgent=urgent
    )
    return ToolResult(
        {"messages": [_shown(message, context.audience) for message in messages]},
        leased=[message.id for message in messages],
    )


def _shown(message: Message, audience: Audience) -> JsonObject:
    """Return a message as JSON, without the fields that mean nothing to its recipient."""
    shown: JsonObject = {
        "id": message.id,
        "from": message.sender,
        "to": message.recipient,
        "kind": message.kind,
        "body": message.body,
        "queued": message.queued,
        "redeliveries": message.redeliveries,
        "urgent": message.urgent,
        "in_reply_to": message.in_reply_to,
    }
    if message.interrupt:
        shown["interrupt"] = True
    if message.earlier_life:
        shown["earlier_life"] = True
    if message.traceparent and audience is Audience.HARNESS:
        shown["traceparent"] = message.traceparent
    return shown


_SEND: Final = (
    "Send a message to another agent, to the manager, to the operator (the person who runs this"
    " hive), or to all agents. Returns the message's id when the message is stored on disk; it is"
    " delivered even if the recipient is stopped now. The recipient reads it at the start of its"
    " next turn and may answer with a message of its own. Do not wait for that answer inside this"
    " turn unless you need it now (then use recv). If you cannot go on without an answer, use ask."
    " Do not answer thanks: each message starts a turn, and two agents that write to each other"
    " again and again are held until the operator decides."
)
_RECV: Final = (
    "Get your waiting messages: the operator's first, then the hive's, then one of each sender in"
    " turn. Each has id (give it as in_reply_to when you answer with send), from, kind, body and"
    " redeliveries. If redeliveries is not 0, the message was delivered before: check whether you"
    " have already acted on it. If earlier_life is true, it was delivered before your container was"
    " restarted: processes from that time have ended, files below /state are still there. Calling"
    " recv again acknowledges the messages of the previous call. An empty list means that there are"
    " no messages."
)

TOOLS: Final = (
    Tool("send", _SEND, Send, _send, AGENT),
    Tool("send", _SEND, ManagerSend, _send, MANAGER),
    Tool(
        "unsend",
        "Take back a message that you sent, if its recipient does not have it yet. The id of a"
        " message to '*' takes back all copies that were not delivered yet. An error names the"
        " copies that were not taken back, and the reason.",
        Unsend,
        _unsend,
        MODELS,
    ),
    Tool("recv", _RECV, Receive, _recv, MODELS, LongCall.MESSAGES),
    Tool("recv", _RECV, HarnessReceive, _recv, HARNESS, LongCall.MESSAGES),
)
