"""The requests that gateways reserve and settle, checked against their records."""

import re
from typing import Final

from pydantic import Field

from services.ledger.turns.checks import MAX_LISTED, MOST_TOKENS
from services.options import Options
from wire.names import AGENT_NAME, MODEL_NAME
from wire.records.ledger import ReserveRequest, Settlement, UsageFilter, UsageSumFilter

__all__ = ["KEY", "MAX_LISTED", "RESERVE", "SETTLE", "SUMS", "USAGE"]

_LAST: Final = 2**63 - 1
"""The greatest integer of sqlite."""
_CREDENTIAL: Final = rf"^(default|scripted|none|login|agent:{AGENT_NAME.pattern})$"
_TOKENS: Final = Field(le=MOST_TOKENS)
_BYTES: Final = Field(le=2**50)
_DURATION: Final = Field(le=2**50)
_TIME: Final = Field(ge=0, le=2**60)

KEY: Final = re.compile(r"^[A-Za-z0-9-]{0,64}$")

RESERVE: Final = Options(
    ReserveRequest,
    "key of Reserve",
    credential=Field(pattern=_CREDENTIAL),
    model=Field(pattern=f"^({MODEL_NAME.pattern})?$"),
    input_tokens=_TOKENS,
    output_tokens=_TOKENS,
    key=Field(pattern=KEY.pattern),
    web_searches=Field(le=1000),
)
SETTLE: Final = Options(
    Settlement,
    "key of Settle",
    status=Field(le=999),
    model=Field(pattern=f"^({MODEL_NAME.pattern})?$"),
    input_tokens=_TOKENS,
    output_tokens=_TOKENS,
    cache_read_tokens=_TOKENS,
    cache_write_tokens=_TOKENS,
    cache_write_hour_tokens=_TOKENS,
    web_searches=Field(le=10_000_000),
    surcharge=Field(le=1000),
    first_byte=_DURATION,
    last_byte=_DURATION,
    sent=_BYTES,
    received=_BYTES,
    limited_until=_TIME,
    remaining_requests=_TOKENS,
    remaining_tokens=_TOKENS,
    remaining_until=_TIME,
)
USAGE: Final = Options(
    UsageFilter,
    "filter of ListUsage",
    agent=Field(pattern=f"^{AGENT_NAME.pattern}$"),
    credential=Field(pattern=_CREDENTIAL),
    before=Field(ge=1, le=_LAST),
)
SUMS: Final = Options(
    UsageSumFilter,
    "filter of SumUsage",
    agent=Field(pattern=f"^{AGENT_NAME.pattern}$"),
    credential=Field(pattern=_CREDENTIAL),
)
