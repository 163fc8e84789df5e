"""The shapes of answers about one agent: its turns and events, and what the host knows of it."""

from pydantic import JsonValue

from services.dashboard.http.shapes.rows import EgressRow
from services.dashboard.http.shapes.shape import Shape, Text


class Woken(Shape):
    """Whether the agent was started."""

    woken: bool


class Address(Shape):
    """An address that opens a preview, once."""

    url: str


class Offered(Shape):
    """Whether terminals are on."""

    offered: bool


class Ticket(Shape):
    """The path of a web socket that carries a terminal, once."""

    path: str


class LoginPage(Shape):
    """A login of an agent, and the address of its page."""

    login: int
    address: str


class EventRow(Shape):
    """An event of an agent; other fields depend on its type."""

    seq: int
    at: int
    turn: int | None
    type: str


class TurnRow(Shape):
    """A turn with its figures; times in microseconds, the cost in dollars."""

    id: int
    started: int
    ended: int
    outcome: str
    messages: list[dict[str, JsonValue]]
    model: Text
    session: Text
    seconds: float
    cost: float
    tools: list[dict[str, JsonValue]]
    error: Text
    input_tokens: int
    output_tokens: int
    tool_calls: int
    denied: int


class DayRow(Shape):
    """The figures of a day."""

    day: str
    turns: int
    seconds: float
    cost: float
    input_tokens: int
    output_tokens: int
    tools: list[dict[str, JsonValue]]


class StepRow(Shape):
    """A step of an agent's own list."""

    text: Text
    state: str


class Events(Shape):
    """Some of an agent's events, oldest first."""

    events: list[EventRow]
    first: int
    last: int


class Event(Shape):
    """A whole event."""

    event: EventRow


class Turns(Shape):
    """The newest turns, newest first."""

    turns: list[TurnRow]


class Turn(Shape):
    """One turn."""

    turn: TurnRow


class Days(Shape):
    """The figures of the last days, oldest first."""

    days: list[DayRow]


class Todo(Shape):
    """The agent's own list of steps."""

    todo: list[StepRow]


class Usage(Shape):
    """The resources that the host counts."""

    usage: dict[str, JsonValue]


class Logs(Shape):
    """The newest lines about an agent in the host's journal."""

    logs: list[Text]


class Hosts(Shape):
    """The hosts that an agent has reached, or was refused."""

    egress: list[EgressRow]
