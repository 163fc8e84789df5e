"""The records of org.hyperhive.Ledger1.

Times are microseconds since 1970, durations microseconds, costs millionths of a US dollar. A
duration that was not measured is 0.
"""

from enum import StrEnum
from typing import NamedTuple

from wire.records.codec import dictionary, struct
from wire.types import Counts, Int64, Str, UInt64


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
    """The sums of the turns that share a key."""

    key: Str
    """The day, model or agent; empty for turns that named no model."""
    turns: UInt64
    duration: UInt64
    input_tokens: UInt64
    output_tokens: UInt64
    cache_read_tokens: UInt64
    cache_write_tokens: UInt64
    cost: UInt64


@struct
class TurnRecorded(NamedTuple):
    """The arguments of the signal TurnRecorded."""

    agent: Str
    id: UInt64
    started: Int64
    cost: UInt64
