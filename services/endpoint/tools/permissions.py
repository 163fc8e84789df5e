"""The tools of the harness for tool calls that wait for the operator's permission."""

from typing import Annotated, Final

from pydantic import Field

from services.endpoint.tools.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tools.questions import MAX_CHOICES, MAX_TTL, Choice
from services.endpoint.tools.tool import HARNESS, Context, Tool, ToolResult
from wire.names import OPERATOR
from wire.records.broker import AskOptions


class AskPermission(Arguments):
    """Arguments of `ask_permission`."""

    call: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9:._-]{1,128}$",
            description="The key of the tool call that waits. While a question with this key is"
            " open, no second one is asked.",
        ),
    ]
    question: Annotated[
        str,
        Field(min_length=1, max_length=MAX_TEXT, description="The tool and its arguments."),
    ]
    options: Annotated[
        list[Choice],
        Field(min_length=1, max_length=MAX_CHOICES, description="The possible answers."),
    ]
    multi: Annotated[
        bool,
        Field(description="Allow several of the options to be chosen."),
    ] = False
    rule: Annotated[
        Annotated[str, Field(min_length=1, max_length=400)] | None,
        Field(
            description="The rule for agent.toml that the option 'Always allow' stands for;"
            " the options contain 'Always allow' and 'Deny' then."
        ),
    ] = None
    ttl_seconds: Annotated[
        Annotated[int, Field(ge=1, le=MAX_TTL)] | None,
        Field(description="The question expires after this many seconds."),
    ] = None


class CancelPermission(Arguments):
    """Arguments of `cancel_permission`."""

    id: Annotated[Id, Field(description="The id of the question.")]


async def _ask_permission(context: Context, call: AskPermission) -> ToolResult:
    options = AskOptions(
        choices=call.options,
        multi=call.multi,
        ttl_s=call.ttl_seconds,
        permission=call.call,
        rule=call.rule,
        traceparent=context.span.traceparent,
    )
    return ToolResult({"question": await context.services.ask(OPERATOR, call.question, options)})


async def _cancel_permission(context: Context, call: CancelPermission) -> ToolResult:
    await context.services.cancel_question(call.id)
    return ToolResult({})


TOOLS: Final = (
    Tool(
        "ask_permission",
        "Ask the operator whether a tool call may run. Returns the question's id at once. The"
        " answer is an urgent message of kind permission-answered, which names the call.",
        AskPermission,
        _ask_permission,
        HARNESS,
    ),
    Tool(
        "cancel_permission",
        "Cancel a question of ask_permission, because its tool call does not wait any more.",
        CancelPermission,
        _cancel_permission,
        HARNESS,
    ),
)
