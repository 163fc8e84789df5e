"""The options and filters that callers of approvals pass, checked against their records."""

from typing import Final

from pydantic import Field

from services.options import Options
from wire.errors import InvalidArgument
from wire.records.approvals import (
    ApplyRequestOptions,
    ApprovalFilter,
    ApprovalOptions,
    SpawnRequestOptions,
)

MAX_LISTED: Final = 1000
"""The most requests, or deploys, in one answer; the default of `List`."""

SPAWN: Final = Options(SpawnRequestOptions, "option of RequestSpawn")
APPLY: Final = Options(ApplyRequestOptions, "option of RequestApply")
APPROVE: Final = Options(ApprovalOptions, "option of Approve")
FILTER: Final = Options(
    ApprovalFilter, "filter of List", id=Field(ge=1), limit=Field(ge=1, le=MAX_LISTED)
)


def check_limit(limit: int) -> None:
    """Check the number of deploys that a caller wants at most.

    Raises:
        InvalidArgument: it is out of bounds.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise InvalidArgument(f"{limit} is not a valid limit: use a number from 1 to {MAX_LISTED}.")
