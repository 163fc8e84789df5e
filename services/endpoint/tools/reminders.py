"""The tools for reminders: remind, and cancel, which takes back a reminder or a question."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import Field

from services.endpoint.tools.arguments import MAX_TEXT, Arguments, Id
from services.endpoint.tools.tool import MODELS, Context, Tool, ToolResult
from wire.errors import InvalidArgument
from wire.records.broker import RemindOptions

MAX_DELAY: Final = 365 * 24 * 3600
MAX_PATH: Final = 1024

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Remind(Arguments):
    """Arguments of `remind`."""

    text: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_TEXT, description="The text of the reminder."),
    ] = None
    file: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_PATH,
            description="One of your files below /state, such as /state/todo.md. The reminder"
            " contains what is in the file when it is due. Symbolic links are not followed. Give"
            " it together with text, or instead of text.",
        ),
    ] = None
    at: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=64,
            description="When the reminder is due: date, time and time zone as in ISO 8601, such as"
            " 2030-01-31T09:00:00+01:00 or 2030-01-31T08:00:00Z. Give either at or after_seconds.",
        ),
    ] = None
    after_seconds: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_DELAY,
            description="The reminder is due after this many seconds, up to one year. Give either"
            " at or after_seconds.",
        ),
    ] = None


class Cancel(Arguments):
    """Arguments of `cancel`."""

    kind: Annotated[
        Literal["question", "reminder"],
        Field(description="Whether to cancel a question or a reminder."),
    ]
    id: Annotated[Id, Field(description="The id that ask or remind returned.")]


async def _remind(context: Context, call: Remind) -> ToolResult:
    if call.text is None and call.file is None:
        raise InvalidArgument("A reminder needs a text, a file, or both.")
    if (call.at is None) == (call.after_seconds is None):
        raise InvalidArgument("Give either at or after_seconds, so that the time is clear.")
    options = RemindOptions(after_s=call.after_seconds, file=call.file)
    due = 0 if call.at is None else microseconds(call.at)
    return ToolResult({"reminder": await context.services.remind(due, call.text or "", options)})


def microseconds(at: str) -> int:
    """Convert a time in ISO 8601, with its time zone, to microseconds since 1970.

    Raises:
        InvalidArgument: `at` is not such a time, or is not after 1970 began.
    """
    try:
        time = datetime.fromisoformat(at)
        if time.tzinfo is None:
            raise InvalidArgument(
                f"{at!r} has no time zone: append Z, or an offset such as +01:00."
            )
        due = (time - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"{at!r} is not a valid date and time: write it like 2030-01-31T09:00:00+01:00."
        ) from None
    if due <= 0:
        raise InvalidArgument(f"{at!r} is long past: give a time in the future.")
    return due


async def _cancel(context: Context, call: Cancel) -> ToolResult:
    if call.kind == "question":
        await context.services.cancel_question(call.id)
    else:
        await context.services.cancel_reminder(call.id)
    return ToolResult({"cancelled": {"kind": call.kind, "id": call.id}})


TOOLS: Final = (
    Tool(
        "remind",
        "Remind yourself of something at a given time or after a delay. Returns the reminder's id;"
        " end your turn then, do not wait. The reminder comes as a message of kind reminder, even"
        " if you were stopped and started in between. Use it to look again at something that takes"
        " long, or to do something regularly (set a new reminder each time).",
        Remind,
        _remind,
        MODELS,
    ),
    Tool(
        "cancel",
        "Cancel a question that you asked and no longer need answered, or a reminder that is not"
        " due yet. get_open_threads lists their ids.",
        Cancel,
        _cancel,
        MODELS,
    ),
)
