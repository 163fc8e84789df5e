"""The options and filters that callers of approvals pass, checked against their records."""

from typing import Final

from pydantic import Field

from services.options import Options
from wire.errors import InvalidArgument
from wire.records.approvals import (
    ApplyRequestOptions,
    ApprovalFilter,
    ApprovalOptions,
    ConfigureOptions,
    DiffBase,
    SpawnRequestOptions,
)

MAX_LISTED: Final = 1000
"""The most requests, or deploys, in one answer; the default of `List`."""

SPAWN: Final = Options(SpawnRequestOptions, "option of RequestSpawn")
APPLY: Final = Options(ApplyRequestOptions, "option of RequestApply")
APPROVE: Final = Options(ApprovalOptions, "option of Approve")
CONFIGURE: Final = Options(ConfigureOptions, "option of Configure")
FILTER: Final = Options(
    ApprovalFilter,
    "filter of List",
    id=Field(ge=1),
    before=Field(ge=1),
    limit=Field(ge=1, le=MAX_LISTED),
)


def diff_base(base: str) -> DiffBase:
    """Return the configuration that a caller wants a request to be compared with.

    Raises:
        InvalidArgument: there is no such one.
    """
    try:
        return DiffBase(base)
    except ValueError:
        raise InvalidArgument(
            f"{base[:32]!r} is not a valid base: use one of {', '.join(DiffBase)}."
        ) from None


def check_limit(limit: int) -> None:
    """Check the number of deploys that a caller wants at most.

    Raises:
        InvalidArgument: it is out of bounds.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise InvalidArgument(f"{limit} is not a valid limit: use a number from 1 to {MAX_LISTED}.")
