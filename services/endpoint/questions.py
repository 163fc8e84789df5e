"""The tools for questions: ask and answer."""

from typing import Annotated, Any, Final

from pydantic import Field

from services.endpoint.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tool import MODELS, Context, Outcome, Tool
from wire.types import U32

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
            description="The question, with all that is needed to answer it: whoever answers does"
            " not see what you see.",
        ),
    ]
    options: Annotated[
        list[Choice] | None,
        Field(
            min_length=1,
            max_length=MAX_CHOICES,
            description="The answers to choose from, each a short text. Without them any text"
            " will do.",
        ),
    ] = None
    multi: Annotated[
        bool, Field(description="Several of the options may be chosen. Only with options.")
    ] = False
    ttl_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_TTL,
            description="After so many seconds (up to 30 days) the question ends unanswered, and"
            " you are told. Without it, it stays open until it is answered or cancelled.",
        ),
    ] = None
    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="Who is asked: 'operator' (a person) or the name of an agent.",
        ),
    ] = "operator"


class Answer(Arguments):
    """Arguments of `answer`."""

    id: Annotated[Id, Field(description="The number of the question.")]
    answer: Annotated[
        Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
        | Annotated[list[Choice], Field(min_length=1, max_length=MAX_CHOICES)],
        Field(
            description="A text. When the question has options: one of them, word for word; or a"
            " list of them, when it takes several."
        ),
    ]


async def _ask(context: Context, call: Ask) -> Outcome:
    options: dict[str, Any] = {}
    if call.options is not None:
        options["choices"] = call.options
    if call.multi:
        options["multi"] = True
    if call.ttl_seconds is not None:
        options["ttl_s"] = U32(call.ttl_seconds)
    return Outcome({"question": await context.hive.ask(call.to, call.question, options)})


async def _answer(context: Context, call: Answer) -> Outcome:
    answer = [call.answer] if isinstance(call.answer, str) else call.answer
    await context.hive.answer(call.id, answer)
    return Outcome({"question": call.id})


TOOLS: Final = (
    Tool(
        "ask",
        "Ask the operator (the person who runs this hive) or an agent something that you need to"
        " know before you can go on: a decision, a permission, a fact. Returns the number of the"
        " question at once and does not wait: end your turn. The answer comes as a message of kind"
        " question-answered, which says who answered; [expired] and [cancelled] mean that nobody"
        " did, so decide yourself or ask differently. For all that needs no answer use send.",
        Ask,
        _ask,
        MODELS,
    ),
    Tool(
        "answer",
        "Answer a question that you were asked in a message of kind question-asked; the message"
        " has its number. Whoever asked gets your answer as a message, so do not send one too. A"
        " question is answered once.",
        Answer,
        _answer,
        MODELS,
    ),
)
