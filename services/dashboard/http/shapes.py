"""The shapes of the answers, for the OpenAPI document. Tests hold real answers against them.

A row may have more fields than its shape names: clients must ignore those that they do not know.
"""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue


class Shape(BaseModel):
    """The base of all shapes."""

    model_config = ConfigDict(extra="allow")


class Mark(Shape):
    """A part of a text that must not be shown as it is."""

    text: str
    shown: str
    reason: str


Text: TypeAlias = str | list[str | Mark]
"""A text that somebody else may have written, as it is to be shown."""


class ServiceRow(Shape):
    """A service of the hive, and why it does not answer."""

    name: str
    available: bool
    reason: str


class AgentRow(Shape):
    """An agent; times are microseconds since 1970."""

    name: str
    state: str
    since: int
    turn_state: str
    turn_since: int
    turn_reason: Text
    turn_until: int
    activity: Text
    model: str
    context_tokens: int
    context_limit: int
    effort: str
    logged_in: bool
    stale: bool
    port: int
    deployed_commit: str
    resources: dict[str, int]
    network: dict[str, JsonValue]


class JobRow(Shape):
    """A job that changes an agent."""

    agent: str
    verb: str


class OutputRow(Shape):
    """A line about the work of a job, and its number."""

    job: str
    n: int
    text: Text


class CostRow(Shape):
    """The cost of an agent's present day in dollars, and the end of that day."""

    cost: float
    ends: int


class BudgetRow(Shape):
    """A budget; amounts are millionths of a dollar."""

    kind: str
    name: str
    period: str
    limit: int


class EgressRow(Shape):
    """A host that was refused to an agent."""

    agent: str
    host: str
    port: int
    state: str
    rule: str
    reason: Text


class ApprovalRow(Shape):
    """A request for an approval."""

    id: int
    kind: str
    agent: str
    commit: str
    reason: Text
    requested_by: str
    requested: int
    state: str
    note: Text
    log: Text
    resolved: int


class MessageRow(Shape):
    """A message, with the beginning of its body."""

    id: int
    kind: str
    to: str
    body: Text
    length: int
    at: int
    redeliveries: int
    urgent: bool
    in_reply_to: int
    state: str
    reason: Text


class QuestionRow(Shape):
    """A question, with the beginning of its texts."""

    id: int
    to: str
    question: Text
    length: int
    choices: list[Text]
    multi: bool
    asked: int
    deadline: int
    state: str
    answer: list[Text]
    answered_by: str
    resolved: int
    permission: bool
    rule: Text
    own: bool


class ReminderRow(Shape):
    """A reminder that is pending, with the beginning of its body."""

    id: int
    owner: str
    due: int
    body: Text
    length: int
    file: str
    created: int


class NoticeRow(Shape):
    """A notice about a problem."""

    text: Text
    at: int


class DeployRow(Shape):
    """A configuration that was deployed."""

    at: int
    agent: str
    commit: str
    approval: int
    requested_by: str
    description: Text
    kept: bool


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


class Tables(Shape):
    """All tables: rows by key."""

    services: dict[str, ServiceRow]
    agents: dict[str, AgentRow]
    jobs: dict[str, JobRow]
    output: dict[str, OutputRow]
    costs: dict[str, CostRow]
    budgets: dict[str, BudgetRow]
    egress: dict[str, EgressRow]
    approvals: dict[str, ApprovalRow]
    messages: dict[str, MessageRow]
    questions: dict[str, QuestionRow]
    reminders: dict[str, ReminderRow]
    notices: dict[str, NoticeRow]


class State(Shape):
    """All tables, and the number of the last change in them."""

    epoch: str
    seq: int
    tables: Tables


class Nothing(Shape):
    """An answer without content: it was done."""


class Begun(Shape):
    """A new session, and its role."""

    session: str
    role: str


class Ways(Shape):
    """The ways to log in besides a link: as the proxy's user, and with a passkey."""

    user: Text
    passkeys: bool


class Challenge(Shape):
    """The options for the browser's passkeys."""

    options: dict[str, JsonValue]


class OwnSession(Shape):
    """The session of the request."""

    role: str
    id: int


class Sessions(Shape):
    """The sessions, the last used first."""

    sessions: list[dict[str, JsonValue]]


class PasskeyRow(Shape):
    """A passkey."""

    id: str
    name: Text
    role: str
    host: str
    made: int
    used: int


class Passkeys(Shape):
    """The passkeys, the oldest first."""

    passkeys: list[PasskeyRow]


class KeptPasskey(Shape):
    """The passkey that is kept."""

    passkey: PasskeyRow


class Push(Shape):
    """The public key for notifications, and the events that are sent to this browser."""

    key: str
    events: list[str] | None
    all: list[str]


class Sent(Shape):
    """The number of the message that was sent."""

    id: int


class WholeBody(Shape):
    """The whole body of a message."""

    body: Text


class WholeQuestion(Shape):
    """The whole text of a question."""

    question: Text


class Said(Shape):
    """A sentence of the agent's harness, or about the outcome."""

    said: Text


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


class Change(Shape):
    """The lines of a requested change, and the commit against which they are shown."""

    diff: list[Text]
    base: str


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


class Messages(Shape):
    """The newest messages of an agent."""

    messages: list[MessageRow]


class History(Messages):
    """Messages that were looked for, oldest first, and whether there may be more."""

    more: bool


class Questions(Shape):
    """The newest questions of an agent."""

    questions: list[QuestionRow]


class Deploys(Shape):
    """The deployed configurations of an agent."""

    deploys: list[DeployRow]


class Usage(Shape):
    """The resources that the host counts."""

    usage: dict[str, JsonValue]


class Logs(Shape):
    """The newest lines about an agent in the host's journal."""

    logs: list[Text]


class Hosts(Shape):
    """The hosts that an agent has reached, or was refused."""

    egress: list[EgressRow]


class Error(Shape):
    """A refusal: a sentence, and the name of the error on the bus."""

    error: str
    name: str


class Comparison(Change):
    """The change that a request makes in comparison with a configuration."""

    deployed: str
    """The base that an approval takes."""


class Requests(Shape):
    """Requests for approval, newest first."""

    approvals: list[ApprovalRow]
    more: bool


class MoreDeploys(Shape):
    """Deploys, newest first."""

    deploys: list[DeployRow]
    more: bool


class Requested(Shape):
    """The number of a request that was made."""

    request: int


class Saved(Requested):
    """A change that was made, with a sentence about what comes of it."""

    said: Text


class Template(Shape):
    """The text of a configuration."""

    text: str


class Complaint(Shape):
    """The sentence about what is wrong with a file; empty if nothing is."""

    error: Text


class ConfigFile(Template):
    """A file of a deployed configuration."""

    lines: list[Text]
    commit: str
    files: list[str]


class TombstoneRow(Shape):
    """A destroyed agent whose data are kept."""

    name: str
    size: int
    destroyed: int


class Tombstones(Shape):
    """The destroyed agents whose data are kept."""

    tombstones: list[TombstoneRow]
