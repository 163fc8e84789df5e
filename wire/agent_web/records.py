"""The records of web.sock: state, events, turns and days of an agent.

The agent can write anything into them. Keys that a record does not have are ignored, and a value
that is not valid becomes an empty one (wire.agent_web.values). hivectl and the dashboard use these
records only. Times are seconds since 1970.
"""

import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from wire.agent_web import values


class Record(BaseModel):
    """The base of the records."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, values: Any) -> Any:  # Any: what the agent says
        """Leave out what is null: it has the field's default."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None}


Number = Annotated[int, BeforeValidator(values.integer)]
Seconds = Annotated[float, BeforeValidator(values.seconds)]
"""Seconds, since 1970 or of a duration."""
Money = Annotated[float, BeforeValidator(values.number)]
"""US dollars."""
Text = Annotated[str, BeforeValidator(values.text)]
Word = Annotated[str, BeforeValidator(values.word)]
"""A word of a fixed vocabulary."""
Flag = Annotated[bool, BeforeValidator(values.flag)]
Objects = BeforeValidator(values.objects)
Texts = Annotated[tuple[Text, ...], BeforeValidator(values.items)]
Counts = Annotated[dict[str, Number], BeforeValidator(values.table)]

_DAY: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]")


class State(Record):
    """The state of an agent."""

    state: Word = "unknown"
    since: Seconds = 0.0
    reason: Text = ""
    until: Seconds = 0.0
    """When the state ends by itself; 0: it does not."""
    activity: Text = ""
    model: Text = ""
    effort: Text = ""
    session: Text = ""
    context_tokens: Number = 0
    context_limit: Number = 0
    cost_today_usd: Money = 0.0
    turn: Number | None = None
    """The running turn."""
    first_seq: Number = 0
    last_seq: Number = 0
    stored: Annotated[bool, BeforeValidator(lambda value: value is not False)] = True
    """Whether events are on disk; otherwise they end with the harness."""


class Partial(Record):
    """The text of the block that the model is writing: all of it so far."""

    turn: Number | None = None
    kind: Word = "text"
    """`text` or `thinking`."""
    text: Text = ""


class Cause(Record):
    """A message that woke the agent or reached its turn."""

    id: Number = 0
    sender: Annotated[str, BeforeValidator(values.sender)] = Field("unknown", alias="from")
    kind: Word = "unknown"


Causes = Annotated[tuple[Cause, ...], Objects]


class Turn(Record):
    """A turn."""

    id: Number = 0
    started: Seconds = 0.0
    ended: Seconds = 0.0
    """0: it runs."""
    outcome: Word = "unknown"
    woken_by: Causes = ()
    model: Text = ""
    session: Text = ""
    seconds: Seconds = 0.0
    first_request_ms: Number | None = None
    first_token_ms: Number | None = None
    input_tokens: Number = 0
    output_tokens: Number = 0
    cache_read_tokens: Number = 0
    cache_write_tokens: Number = 0
    context_tokens: Number = 0
    cost_usd: Money = 0.0
    tool_calls: Number = 0
    tools: Counts = Field(default_factory=dict)
    denied: Number = 0
    """The calls of tools that were denied."""
    open_threads: Number = 0
    open_reminders: Number = 0
    error: Text = ""


class Turns(Record):
    """A page of turns, newest first."""

    turns: Annotated[tuple[Turn, ...], Objects] = ()


class Day(Record):
    """The sums of a day."""

    day: str = ""
    """Its date, such as 2026-11-29."""
    turns: Number = 0
    seconds: Seconds = 0.0
    cost_usd: Money = 0.0
    input_tokens: Number = 0
    output_tokens: Number = 0
    tools: Counts = Field(default_factory=dict)

    @field_validator("day", mode="before")
    @classmethod
    def _date(cls, value: Any) -> str:  # Any: what the agent says
        return value if isinstance(value, str) and _DAY.fullmatch(value) else ""


class Days(Record):
    """The sums of the last days, oldest first."""

    days: Annotated[tuple[Day, ...], Objects] = ()


class Step(Record):
    """A step of the agent's own list."""

    text: Text = ""
    state: Word = "unknown"


class Todo(Record):
    """The agent's own list."""

    items: Annotated[tuple[Step, ...], Objects] = ()


class JournalLine(Record):
    """A line of the container's journal."""

    cursor: Annotated[str, BeforeValidator(values.cursor)] = ""
    at: Seconds = 0.0
    priority: Annotated[int, BeforeValidator(values.priority)] = 6
    unit: Text = ""
    identifier: Text = ""
    pid: Number = 0
    message: Text = ""


class Journal(Record):
    """Lines of the container's journal, oldest first."""

    lines: Annotated[tuple[JournalLine, ...], Objects] = ()


class Data(Record):
    """The data of an event; each type of event has a class of its own."""

    type: ClassVar[str] = ""


class StateChanged(Data):
    """The agent came to another state."""

    type = "state"
    state: Word = "unknown"
    reason: Text = ""
    until: Seconds = 0.0


class Wake(Data):
    """A turn began, because of messages."""

    type = "wake"
    messages: Causes = ()
    prompt: Text = ""


class Urgent(Wake):
    """Messages reached the running turn."""

    type = "urgent"


class McpServer(Record):
    """An MCP server of a session."""

    name: Text = ""
    status: Text = ""


class Session(Data):
    """A session of Claude Code began or was resumed."""

    type = "session"
    session_id: Text = ""
    model: Text = ""
    tools: Texts = ()
    mcp_servers: Annotated[tuple[McpServer, ...], Objects] = ()
    resumed: Flag = False


class Written(Data):
    """The model wrote a text."""

    type = "text"
    text: Text = ""


class Thought(Data):
    """The model thought."""

    type = "thinking"
    text: Text = ""


class ToolUse(Data):
    """The model called a tool."""

    type = "tool-use"
    id: Text = ""
    tool: Text = ""
    input: object = None


class ToolResult(Data):
    """A call of a tool ended."""

    type = "tool-result"
    id: Text = ""
    content: object = None
    error: Annotated[bool, BeforeValidator(bool)] = False


class Denied(Data):
    """A call of a tool was refused."""

    type = "denied"
    tool: Text = ""
    reason: Text = ""


class Permission(Data):
    """The operator was asked about a call of a tool, or has answered."""

    type = "permission"
    id: Text = ""
    tool: Text = ""
    summary: Text = ""
    choices: Texts = ()
    answer: object = None


class ServerFailed(Data):
    """An MCP server did not start."""

    type = "server-failed"
    name: Text = ""
    error: Text = ""


class Compacted(Data):
    """The context was compacted; `before` and `after` are its sizes in tokens."""

    type = "compacted"
    trigger: Text = ""
    before: Number = 0
    after: Number = 0


class Note(Data):
    """The harness notes something."""

    type = "note"
    text: Text = ""
    level: Word = "info"


class Cancelled(Data):
    """The turn was cancelled."""

    type = "cancelled"
    by: Text = ""
    text: Text = ""


class Limit(Data):
    """The API answers nothing before a time."""

    type = "limit"
    until: Seconds = 0.0
    text: Text = ""


def _failure(value: object) -> bool | str:
    return value if isinstance(value, str) else bool(value)


class Result(Data):
    """The model's last word in a turn."""

    type = "result"
    text: Text = ""
    error: Annotated[bool | str, BeforeValidator(_failure)] = False
    """Whether it is one, or which."""


class TurnEnd(Data):
    """A turn ended."""

    type = "turn-end"
    outcome: Word = "unknown"
    error: Text = ""
    seconds: Seconds = 0.0
    cost_usd: Money = 0.0


class Other(Data):
    """The data of an event that this version does not know."""

    values: dict[str, object] = Field(default_factory=dict)


DATA: Final[dict[str, type[Data]]] = {
    cls.type: cls
    for cls in (
        StateChanged,
        Wake,
        Urgent,
        Session,
        Written,
        Thought,
        ToolUse,
        ToolResult,
        Denied,
        Permission,
        ServerFailed,
        Compacted,
        Note,
        Cancelled,
        Limit,
        Result,
        TurnEnd,
    )
}
"""The class of the data of each type of event."""


class Event(Record):
    """An event; `seq` grows, with gaps, and is never used again."""

    seq: Annotated[int, Field(strict=True, ge=0, le=values.MAX_INTEGER)]
    at: Seconds = 0.0
    turn: Annotated[int | None, BeforeValidator(lambda value: values.integer(value) or None)] = None
    type: Text = ""
    data: SerializeAsAny[Data] = Field(default_factory=Other)

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, event: Any) -> Any:  # Any: what the agent says
        """Give the data the class of the type."""
        if not isinstance(event, dict) or isinstance(event.get("data"), Data):
            return event
        data, kind = event.get("data"), event.get("type")
        found = data if isinstance(data, dict) else {"data": data}
        known = DATA.get(kind) if isinstance(kind, str) else None
        return {**event, "data": known.model_validate(found) if known else Other(values=found)}


class Events(Record):
    """A page of events, oldest first."""

    events: Annotated[tuple[Event, ...], Objects] = ()
    first_seq: Number = 0
    last_seq: Number = 0
