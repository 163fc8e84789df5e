"""The records of org.hyperhive.Ledger1.

Times are microseconds since 1970, durations microseconds, costs millionths of a US dollar. A
duration that was not measured is 0.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from wire.records.codec import dictionary, struct
from wire.types import Bool, Counts, Int64, Str, UInt32, UInt64

OTHER_MODELS: Final = "other"
"""The key of the models that have no sum of their own."""


class CostKey(StrEnum):
    """The ways to sum costs up."""

    DAY = "day"
    """The day in the host's time zone, such as 2026-11-29."""
    MODEL = "model"
    AGENT = "agent"


@dictionary()
class Turn(NamedTuple):
    """A turn of an agent, as its harness reports it in RecordTurn; ListTurns adds `id` and `agent`.

    The report is the agent's own: it is checked for its shape, and cannot be checked for its truth.
    """

    turn: UInt64
    """The harness's own number of the turn; it begins anew when the agent's state is lost."""
    started: Int64
    ended: Int64
    outcome: Str
    error: Str = ""
    """One line; empty for a turn that did not fail."""
    model: Str = ""
    session: Str = ""
    first_request: UInt64 = 0
    """The time from the start to the first request to the API."""
    first_token: UInt64 = 0
    """The time from the start to the first token of the answer."""
    input_tokens: UInt64 = 0
    """All tokens that the model read, with those of its cache."""
    output_tokens: UInt64 = 0
    cache_read_tokens: UInt64 = 0
    cache_write_tokens: UInt64 = 0
    context_tokens: UInt64 = 0
    """The size of the context after the turn."""
    cost: UInt64 = 0
    tool_calls: UInt64 = 0
    tools: Counts = {}  # noqa: RUF012 - a named tuple's default, which nothing changes
    """The calls of each tool, by its name."""
    denied: UInt64 = 0
    """The calls of tools that were denied."""
    open_threads: UInt64 = 0
    open_reminders: UInt64 = 0
    id: UInt64 = 0
    """The ledger's number, which grows with each turn that is recorded."""
    agent: Str = ""

    @property
    def duration(self) -> int:
        """The length of the turn in microseconds."""
        return self.ended - self.started


@dictionary()
class TurnFilter(NamedTuple):
    """The filter of ListTurns."""

    agent: Str | None = None
    since: Int64 | None = None
    """Only turns that started at this time or later."""
    until: Int64 | None = None
    """Only turns that started before this time."""
    before: UInt64 | None = None
    """Only turns with a lower `id`, for the next page."""


@dictionary()
class CostFilter(NamedTuple):
    """The filter of Costs."""

    by: CostKey = CostKey.AGENT
    agent: Str | None = None
    since: Int64 | None = None
    until: Int64 | None = None


@struct
class Cost(NamedTuple):
    """The sums of the turns and of the requests that share a key.

    Turns are counted as harnesses report them. Tokens and costs are those of the requests, as for
    SumUsage.
    """

    key: Str
    """The day, model or agent; empty for those that named no model. The models of an agent that
    cost most have sums of their own; OTHER_MODELS has the sums of the others."""
    turns: UInt64
    duration: UInt64
    """Of the turns."""
    input_tokens: UInt64
    """All tokens that the model read, with those of its cache."""
    output_tokens: UInt64
    cache_read_tokens: UInt64
    cache_write_tokens: UInt64
    cost: UInt64
    unknown_price: Bool = False
    """Whether `cost` has costs of models without a price."""


@struct
class TurnRecorded(NamedTuple):
    """The arguments of the signal TurnRecorded."""

    agent: Str
    id: UInt64
    started: Int64
    cost: UInt64


class RequestOutcome(StrEnum):
    """The end of a request to the model API."""

    DONE = "done"
    """The whole answer was passed on."""
    FAILED = "failed"
    """The upstream answered with an error, or could not be reached: nothing is charged."""
    BROKEN = "broken"
    """The answer was cut off, or could not be passed on: unknown use is estimated."""
    REFUSED = "refused"
    """The gateway refused the request after the reservation: nothing left it."""
    LOST = "lost"
    """The gateway died; the request counts as reserved."""


@dictionary()
class ReserveRequest(NamedTuple):
    """A request to the model API before a gateway sends it: the most that it may use."""

    credential: Str
    """`default`, `agent:NAME`, `scripted` or `none`."""
    model: Str
    input_tokens: UInt64
    """An upper bound, from the size of the request."""
    output_tokens: UInt64
    """The `max_tokens` of the request; 0 for one that generates nothing."""
    key: Str = ""
    """The gateway's own name of the request. Another call with the same key, such as after a kill
    of the ledger, returns the reservation that exists."""
    web_searches: UInt64 = 0
    """An upper bound of the searches that the provider makes."""


@dictionary()
class Settlement(NamedTuple):
    """The end of a request to the model API, and the provider's limits that its answer told."""

    outcome: RequestOutcome
    status: UInt32 = 0
    """The status of HTTP; 0 when no answer came."""
    model: Str = ""
    """The model that answered; empty for the one that was asked for."""
    input_tokens: UInt64 = 0
    """Without the tokens that the cache read or wrote, as the API counts them."""
    output_tokens: UInt64 = 0
    cache_read_tokens: UInt64 = 0
    cache_write_tokens: UInt64 = 0
    cache_write_hour_tokens: UInt64 = 0
    """Those of `cache_write_tokens` that are kept for an hour, which costs more."""
    web_searches: UInt64 = 0
    """The searches that the provider made for the request."""
    surcharge: UInt32 = 0
    """The percents by which the tokens cost more than the model's price."""
    first_byte: UInt64 = 0
    """The time from Reserve to the first byte of the answer."""
    last_byte: UInt64 = 0
    sent: UInt64 = 0
    received: UInt64 = 0
    limited_until: Int64 = 0
    """When the provider takes requests of the credential again; 0 for not limited."""
    remaining_requests: UInt64 | None = None
    remaining_tokens: UInt64 | None = None
    remaining_until: Int64 = 0
    """When the provider fills the remaining requests and tokens up again; 0 for not known."""


@dictionary()
class Request(NamedTuple):
    """A request to the model API that has ended: a row of ListUsage."""

    id: UInt64
    agent: Str
    credential: Str
    """`login` for a turn of an agent that has a login of its own: its harness reported it."""
    model: Str
    outcome: RequestOutcome
    started: Int64
    ended: Int64
    status: UInt32 = 0
    input_tokens: UInt64 = 0
    output_tokens: UInt64 = 0
    cache_read_tokens: UInt64 = 0
    cache_write_tokens: UInt64 = 0
    web_searches: UInt64 = 0
    cost: UInt64 = 0
    unknown_price: Bool = False
    """Whether the model has no price: the cost is that of the dearest model."""
    first_byte: UInt64 = 0
    last_byte: UInt64 = 0
    sent: UInt64 = 0
    received: UInt64 = 0


@dictionary()
class UsageFilter(NamedTuple):
    """The filter of ListUsage."""

    agent: Str | None = None
    credential: Str | None = None
    since: Int64 | None = None
    """Only requests that began at this time or later."""
    until: Int64 | None = None
    before: UInt64 | None = None
    """Only requests with a lower `id`, for the next page."""


class UsageKey(StrEnum):
    """The ways to sum requests up."""

    DAY = "day"
    """The day in the host's time zone, such as 2026-11-29."""
    MODEL = "model"
    AGENT = "agent"
    CREDENTIAL = "credential"


@dictionary()
class UsageSumFilter(NamedTuple):
    """The filter of SumUsage."""

    by: UsageKey = UsageKey.AGENT
    agent: Str | None = None
    credential: Str | None = None
    since: Int64 | None = None
    """Only requests that began at this time or later."""
    until: Int64 | None = None


@dictionary()
class UsageSum(NamedTuple):
    """The sums of the requests that share a key: a row of SumUsage."""

    key: Str
    """The day, model, agent or credential; empty for requests that named no model. The models of an
    agent that cost most have sums of their own; OTHER_MODELS has the sums of the others."""
    requests: UInt64
    failed: UInt64 = 0
    """Those that did not end as `done`."""
    input_tokens: UInt64 = 0
    output_tokens: UInt64 = 0
    cache_read_tokens: UInt64 = 0
    cache_write_tokens: UInt64 = 0
    cost: UInt64 = 0
    unknown_price: Bool = False
    """Whether the cost has costs of models without a price."""


class BudgetKind(StrEnum):
    """The owner of a budget."""

    AGENT = "agent"
    HIVE = "hive"
    CREDENTIAL = "credential"


class BudgetPeriod(StrEnum):
    """The time in which a budget counts."""

    DAY = "day"
    """A day of the host's time zone."""
    WEEK = "week"
    """A week from Monday, in the host's time zone."""
    TOTAL = "total"


class BudgetState(StrEnum):
    """How much of a budget is used."""

    OK = "ok"
    WARNED = "warned"
    """At least 80 %."""
    EXHAUSTED = "exhausted"


@dictionary()
class Budget(NamedTuple):
    """A budget and what is used of it."""

    kind: BudgetKind
    name: Str
    """The agent or the credential; `hive` for the hive."""
    period: BudgetPeriod
    limit: UInt64 = 0
    """Millionths of a dollar, with `raised`; 0 for no limit."""
    limit_tokens: UInt64 = 0
    raised: UInt64 = 0
    """The part of `limit` by which the operator raised it for this period."""
    raised_tokens: UInt64 = 0
    spent: UInt64 = 0
    spent_tokens: UInt64 = 0
    """Tokens of all kinds."""
    reserved: UInt64 = 0
    """The most that the requests under way may cost."""
    reserved_tokens: UInt64 = 0
    since: Int64 = 0
    until: Int64 = 0
    """The end of the period; 0 for `total`."""
    lifted_until: Int64 = 0
    """Until when the operator lets the budget be exceeded; 0 for not."""
    state: BudgetState = BudgetState.OK
    unknown_price: Bool = False
    """Whether `spent` has costs of models without a price."""
    question: UInt64 = 0
    """The open question to the operator about the budget that is used up; 0 for none."""


@dictionary()
class BudgetLimits(NamedTuple):
    """The limits that SetBudget sets; a limit of 0 is none, and one that is left out stays.

    Those of an operator come before those of hyperhive.toml and agent.toml.
    """

    day: UInt64 | None = None
    """Millionths of a dollar, as `week` and `total`."""
    week: UInt64 | None = None
    total: UInt64 | None = None
    day_tokens: UInt64 | None = None
    week_tokens: UInt64 | None = None
    total_tokens: UInt64 | None = None
    reset: Bool = False
    """Whether all limits that the caller set before are dropped first."""


class EgressOutcome(StrEnum):
    """The end of a connection to another host."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "failed"


class EgressState(StrEnum):
    """The operator's decision about a host and a port."""

    NONE = "none"
    """Nothing was refused."""
    PENDING = "pending"
    """Something was refused, and the operator has not decided."""
    ONCE = "once"
    """The next connection is allowed."""
    DENIED = "denied"
    ALLOWED = "allowed"
    """A rule of the agent allows it."""


class EgressDecision(StrEnum):
    """The answers to a refusal; a rule of the agent is another one."""

    ONCE = "once"
    DENY = "deny"


@dictionary()
class EgressReport(NamedTuple):
    """Connections of an agent to a host and a port, since the last report."""

    host: Str
    port: UInt32
    outcome: EgressOutcome
    connections: UInt32 = 1
    sent: UInt64 = 0
    received: UInt64 = 0


@dictionary()
class Egress(NamedTuple):
    """An agent, a host and a port: what was connected, what was refused, and the decision."""

    agent: Str
    host: Str
    port: UInt32
    state: EgressState
    first: Int64
    last: Int64
    allowed: UInt64 = 0
    """Connections, as `refused` and `failed`."""
    refused: UInt64 = 0
    failed: UInt64 = 0
    sent: UInt64 = 0
    received: UInt64 = 0
    reason: Str = ""
    """The agent's reason for its request: untrusted text of one line."""
    decided: Int64 = 0


@dictionary()
class EgressFilter(NamedTuple):
    """The filter of ListEgress."""

    agent: Str | None = None
    state: EgressState | None = None
    since: Int64 | None = None
    """Only entries with a connection or a refusal at this time or later."""


@dictionary()
class ProviderLimit(NamedTuple):
    """The limits of the provider for a credential, as its answers told."""

    credential: Str
    until: Int64 = 0
    """When the provider takes requests again; 0 or a time in the past for not limited."""
    remaining_requests: UInt64 | None = None
    remaining_tokens: UInt64 | None = None
    remaining_until: Int64 = 0
    updated: Int64 = 0
    agents: tuple[Str, ...] = ()
    """Those whose gateways used the credential last."""


@struct
class ProviderLimitChanged(NamedTuple):
    """The arguments of the signal ProviderLimitChanged."""

    credential: Str
    until: Int64


@struct
class AgentLimited(NamedTuple):
    """The arguments of the signal AgentLimited: the limit of the credential that an agent's gateway
    uses."""

    agent: Str
    until: Int64
