"""The shapes of the tables, and of their rows."""

from pydantic import JsonValue

from services.dashboard.http.shapes.shape import Shape, Text


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
    projects: list[str]
    crashes: int
    last_crash: int
    resources: dict[str, int]
    network: dict[str, JsonValue]


class JobRow(Shape):
    """A job that changes an agent."""

    id: int
    agent: str
    verb: str
    state: str
    may_cancel: bool


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


class ProjectRow(Shape):
    """A project; times are microseconds since 1970, the size is in bytes."""

    name: str
    source: str
    branch: str
    state: str
    message: Text
    commit: str
    fetched: int
    added: int
    size: int
    credential: str
    depth: int
    filter: str
    private: bool
    notes: list[Text]
    how: str
    progress: dict[str, JsonValue] | None


class ChangeRow(Shape):
    """A change of a project."""

    id: int
    project: str
    agent: str
    branch: str
    title: Text
    state: str
    note: Text
    revision: int
    commit: str
    submitted: int
    changed: int
    published: str


class WaitingChangeRow(ChangeRow):
    """A change that has not ended, with the number of signals about it since the start."""

    heard: int


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
    projects: dict[str, ProjectRow]
    changes: dict[str, WaitingChangeRow]
    messages: dict[str, MessageRow]
    questions: dict[str, QuestionRow]
    reminders: dict[str, ReminderRow]
    notices: dict[str, NoticeRow]


class State(Shape):
    """All tables, the number of the last change in them, and the version of the pages' files."""

    epoch: str
    seq: int
    tables: Tables
    version: str
