"""The turns and filters that callers of the ledger pass, checked against their records."""

import re
from typing import Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from services.options import Options
from wire.errors import InvalidArgument
from wire.names import AGENT_NAME, MODEL_NAME
from wire.records.ledger import CostFilter, Turn, TurnFilter

MAX_LISTED: Final = 1000
"""The most turns in one answer."""
MAX_ERROR: Final = 500
"""The most characters of a turn's error."""
MAX_TOOLS: Final = 64
"""The most tools that a turn names."""
SECOND: Final = 1_000_000
"""Microseconds."""
LONGEST: Final = 7 * 24 * 3600 * SECOND
"""The longest turn, in microseconds. With it and the next two bounds no sum overflows."""
MOST_TOKENS: Final = 10**10
MOST_COST: Final = 10**10
"""Millionths of a dollar: 10,000 dollars."""
AHEAD: Final = 24 * 3600 * SECOND
"""The microseconds that a turn may lie in the future, because the host's clock was set back."""

_LAST: Final = 2**63 - 1
"""The greatest integer of sqlite."""
_TOOL: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_COUNT: Final = Field(le=2**32)
_TOKENS: Final = Field(le=MOST_TOKENS)
_AGENT: Final = Field(pattern=f"^{AGENT_NAME.pattern}$")


def _tools(tools: dict[str, int]) -> dict[str, int]:
    """Return the calls of tools, if their number, names and counts are within the bounds."""
    if len(tools) > MAX_TOOLS:
        raise PydanticCustomError("tools", f"It names more than {MAX_TOOLS} tools")
    for name, calls in tools.items():
        if not _TOOL.fullmatch(name):
            raise PydanticCustomError(
                "tools", "The name of a tool has 1 to 128 of A-Z a-z 0-9 _ . : / -"
            )
        if not 0 <= calls <= 2**32:
            raise PydanticCustomError("tools", "A tool is called 0 to 2^32 times")
    return tools


TURN: Final = Options(
    Turn,
    "key of RecordTurn",
    turn=Field(ge=0, le=_LAST),
    started=Field(ge=0),
    ended=Field(ge=0),
    outcome=Field(pattern=r"^[a-z][a-z-]{0,31}$"),
    error=Field(max_length=MAX_ERROR),
    model=Field(pattern=f"^({MODEL_NAME.pattern})?$"),
    session=Field(pattern=r"^[A-Za-z0-9_.-]{0,64}$"),
    first_request=Field(le=LONGEST),
    first_token=Field(le=LONGEST),
    input_tokens=_TOKENS,
    output_tokens=_TOKENS,
    cache_read_tokens=_TOKENS,
    cache_write_tokens=_TOKENS,
    context_tokens=_TOKENS,
    cost=Field(le=MOST_COST),
    tool_calls=_COUNT,
    tools=AfterValidator(_tools),
    denied=_COUNT,
    open_threads=_COUNT,
    open_reminders=_COUNT,
    id=Field(le=0),
    agent=Field(max_length=0),
)
TURNS: Final = Options(
    TurnFilter, "filter of ListTurns", agent=_AGENT, before=Field(ge=1, le=_LAST)
)
COSTS: Final = Options(CostFilter, "filter of Costs", agent=_AGENT)


def check_times(turn: Turn, now: int) -> None:
    """Check the times of a turn against each other and against `now`.

    Raises:
        InvalidArgument: they cannot be those of a turn that has ended.
    """
    if not 0 <= turn.duration <= LONGEST:
        raise InvalidArgument(
            f"The turn started at {turn.started} and ended at {turn.ended}: give microseconds "
            f"since 1970, with 0 to {LONGEST // SECOND} s between them."
        )
    if turn.ended > now + AHEAD:
        raise InvalidArgument(
            f"The turn ended at {turn.ended}, which is in the future: give microseconds since 1970."
        )


def check_limit(limit: int) -> None:
    """Check the number of turns that a caller wants at most.

    Raises:
        InvalidArgument: it is out of bounds.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise InvalidArgument(f"{limit} is not a valid limit: use a number from 1 to {MAX_LISTED}.")
