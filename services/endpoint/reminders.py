"""The tools for later: remind, and cancel, which takes back a reminder or a question."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from services.endpoint.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tool import MODELS, Context, Outcome, Tool
from wire.errors import InvalidArgument
from wire.types import U32

MAX_DELAY: Final = 365 * 24 * 3600
MAX_PATH: Final = 1024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Remind(Arguments):
    """Arguments of `remind`."""

    text: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_TEXT, description="What you want to be told."),
    ] = None
    file: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_PATH,
            description="A file of yours below /state, such as /state/todo.md: what is in it when"
            " the reminder is due comes with it. No symbolic links. Beside text or instead of it.",
        ),
    ] = None
    at: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="When: date and time with zone as in ISO 8601, such as"
            " 2030-01-31T09:00:00+01:00 or 2030-01-31T08:00:00Z. Either this or after_seconds.",
        ),
    ] = None
    after_seconds: Annotated[
        int | None,
        Field(ge=1, le=MAX_DELAY, description="In how many seconds, up to a year."),
    ] = None


class Cancel(Arguments):
    """Arguments of `cancel`."""

    kind: Annotated[
        Literal["question", "reminder"], Field(description="What the number belongs to.")
    ]
    id: Annotated[Id, Field(description="The number that ask or remind returned.")]


async def _remind(context: Context, call: Remind) -> Outcome:
    if call.text is None and call.file is None:
        raise InvalidArgument("A reminder needs a text, a file, or both.")
    if (call.at is None) == (call.after_seconds is None):
        raise InvalidArgument("Give either at or after_seconds: one of them says when.")
    options: dict[str, Any] = {}
    if call.file is not None:
        options["file"] = call.file
    if call.after_seconds is not None:
        options["after_s"] = U32(call.after_seconds)
    due = 0 if call.at is None else microseconds(call.at)
    return Outcome({"reminder": await context.hive.remind(due, call.text or "", options)})


def microseconds(at: str) -> int:
    """The time `at` in ISO 8601, with zone, as microseconds since 1970; else InvalidArgument."""
    try:
        time = datetime.fromisoformat(at)
        if time.tzinfo is None:
            raise InvalidArgument(f"{at!r} has no zone: append Z, or an offset such as +01:00.")
        due = (time - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{at!r} is no date and time; write it like 2030-01-31T09:00:00+01:00."
        ) from None
    if due <= 0:
        raise InvalidArgument(f"{at!r} is long past.")
    return due


async def _cancel(context: Context, call: Cancel) -> Outcome:
    if call.kind == "question":
        await context.hive.cancel_question(call.id)
    else:
        await context.hive.cancel_reminder(call.id)
    return Outcome({"cancelled": {"kind": call.kind, "id": call.id}})


TOOLS: Final = (
    Tool(
        "remind",
        "Remind yourself of something later: at a time, or after a delay. Returns the number of"
        " the reminder; end your turn then, do not wait. It comes as a message of kind reminder,"
        " also if you were stopped and started in between. Use it to look again at what takes"
        " long, or to do something regularly (remind yourself anew each time).",
        Remind,
        _remind,
        MODELS,
    ),
    Tool(
        "cancel",
        "Take back a question that you asked and need no answer to any more, or a reminder that"
        " is not due yet. get_open_threads shows their numbers.",
        Cancel,
        _cancel,
        MODELS,
    ),
)
