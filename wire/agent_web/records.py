"""The records of web.sock: state, events and turns of an agent.

Everything in them is the agent's own word, and any text. Keys that a record does not have are
ignored, and so are values of an event's data that are not valid: the event is then `Other`. Times
are seconds since 1970.
"""

from contextlib import suppress
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)


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


def _text(value: object) -> object:
    """Return a value that should be a text as one: a harness may give a number for an id."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Number = Annotated[int, Field(ge=0, le=2**64 - 1)]
Seconds = Annotated[float, Field(ge=0, le=2**33)]
"""Seconds, since 1970 or of a duration: up to the year 2242, which any calendar can show."""
Money = Annotated[float, Field(ge=0, le=10**9)]
"""US dollars."""
Text = Annotated[str, BeforeValidator(_text)]


class State(Record):
    """The state of an agent."""

    state: Text
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
    stored: bool = True
    """Whether events are on disk; otherwise they end with the harness."""


class Partial(Record):
    """The text of the block that the model is writing: all of it so far."""

    turn: Number | None = None
    kind: Text = "text"
    """`text` or `thinking`."""
    text: Text = ""


class Cause(Record):
    """A message that woke the agent or reached its turn."""

    id: Number = 0
    sender: Text = Field("", alias="from")
    kind: Text = ""


class Turn(Record):
    """A turn."""

    id: Number
    started: Seconds
    ended: Seconds = 0.0
    """0: it runs."""
    outcome: Text = ""
    woken_by: tuple[Cause, ...] = ()
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
    tools: dict[str, Number] = Field(default_factory=dict)
    denied: Number = 0
    """The calls of tools that were denied."""
    open_threads: Number = 0
    open_reminders: Number = 0
    error: Text = ""


class Turns(Record):
    """A page of turns, newest first."""

    turns: tuple[Turn, ...] = ()


class Data(Record):
    """The data of an event; each type of event has a class of its own."""

    type: ClassVar[str] = ""


class StateChanged(Data):
    """The agent came to another state."""

    type = "state"
    state: Text
    reason: Text = ""
    until: Seconds = 0.0


class Wake(Data):
    """A turn began, because of messages."""

    type = "wake"
    messages: tuple[Cause, ...] = ()
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
    tools: tuple[Text, ...] = ()
    mcp_servers: tuple[McpServer, ...] = ()
    resumed: bool = False


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
    input: JsonValue = None


class ToolResult(Data):
    """A call of a tool ended."""

    type = "tool-result"
    id: Text = ""
    content: JsonValue = None
    error: bool = False


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
    choices: tuple[Text, ...] = ()
    answer: JsonValue = None


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
    level: Text = "info"


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


class Result(Data):
    """The model's last word in a turn."""

    type = "result"
    text: Text = ""
    error: bool | Text = ""


class TurnEnd(Data):
    """A turn ended."""

    type = "turn-end"
    outcome: Text = ""
    error: Text = ""
    seconds: Seconds = 0.0
    cost_usd: Money = 0.0


class Other(Data):
    """The data of an event that this version does not know, or that are not valid."""

    values: dict[str, JsonValue] = Field(default_factory=dict)


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

    seq: Number
    at: Seconds = 0.0
    turn: Number | None = None
    type: Text = ""
    data: SerializeAsAny[Data] = Field(default_factory=Other)

    @field_validator("data", mode="before")
    @classmethod
    def _raw(cls, value: Any) -> Any:  # Any: what the agent says
        """Keep the data for `_typed`, which knows the type."""
        return Other(values=value) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _typed(self) -> Self:
        """Give the data the class of the type, if they are valid."""
        cls = DATA.get(self.type)
        if cls is not None and isinstance(self.data, Other):
            with suppress(ValidationError):
                object.__setattr__(self, "data", cls.model_validate(self.data.values))
        return self


class Events(Record):
    """A page of events, oldest first."""

    events: tuple[Event, ...] = ()
    first_seq: Number = 0
    last_seq: Number = 0
