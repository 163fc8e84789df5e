"""The tools for questions: ask and answer."""

from typing import Annotated, Final

from pydantic import Field

from services.endpoint.tools.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tools.tool import MODELS, Context, Tool, ToolResult
from wire.records.broker import AskOptions

MAX_CHOICES: Final = 20
MAX_CHOICE: Final = 200
MAX_TTL: Final = 30 * 24 * 3600

Choice = Annotated[str, Field(min_length=1, max_length=MAX_CHOICE)]


class Ask(Arguments):
    """Arguments of `ask`."""

    question: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_TEXT,
            description="The question, with everything needed to answer it: the recipient does not"
            " see what you see.",
        ),
    ]
    options: Annotated[
        list[Choice] | None,
        Field(
            min_length=1,
            max_length=MAX_CHOICES,
            description="The possible answers, each a short text. Without options, the answer may"
            " be any text. The operator may also answer in other words.",
        ),
    ] = None
    multi: Annotated[
        bool,
        Field(description="Allow several of the options to be chosen. Needs options."),
    ] = False
    ttl_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_TTL,
            description="The question expires after this many seconds (up to 30 days), and you are"
            " told. Without it, the question stays open until it is answered or cancelled.",
        ),
    ] = None
    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="The recipient: 'operator' (a person) or the name of an agent.",
        ),
    ] = "operator"


class Answer(Arguments):
    """Arguments of `answer`."""

    id: Annotated[Id, Field(description="The id of the question.")]
    answer: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
        | Annotated[list[Choice], Field(min_length=1, max_length=MAX_CHOICES)],
        Field(
            description="A text. If the question has options: one of them, word for word, or a list"
            " of them if the question allows several."
        ),
    ]


async def _ask(context: Context, call: Ask) -> ToolResult:
    options = AskOptions(
        choices=call.options,
        multi=call.multi,
        ttl_s=call.ttl_seconds,
        traceparent=context.span.traceparent,
    )
    return ToolResult({"question": await context.services.ask(call.to, call.question, options)})


async def _answer(context: Context, call: Answer) -> ToolResult:
    answer = [call.answer] if isinstance(call.answer, str) else call.answer
    await context.services.answer(call.id, answer)
    return ToolResult({"question": call.id})


TOOLS: Final = (
    Tool(
        "ask",
        "Ask the operator (the person who runs this hive) or an agent for something that you need"
        " before you can go on: a decision, a permission, a fact. Returns the question's id at once"
        " and does not wait for the answer: end your turn. The answer comes as a message of kind"
        " question-answered, which names who answered. [expired] and [cancelled] mean that nobody"
        " answered: decide yourself, or ask differently. If you need no answer, use send.",
        Ask,
        _ask,
        MODELS,
    ),
    Tool(
        "answer",
        "Answer a question that you were asked in a message of kind question-asked; that message"
        " contains the question's id. The asker gets your answer as a message, so do not send"
        " another one. A question can be answered only once.",
        Answer,
        _answer,
        MODELS,
    ),
)
