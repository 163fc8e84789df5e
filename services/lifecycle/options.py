"""The dictionaries that callers of lifecycle pass, checked against their records."""

from typing import Final

from pydantic import Field

from services.options import Options
from wire.records.lifecycle import (
    CancelOptions,
    CommandResult,
    DeployOptions,
    LogFilter,
    Report,
    ResourceChanges,
    SpawnOptions,
)
from wire.text.urls import MAX_URL

LATEST: Final = 2**33 * 1_000_000
"""The latest time that a harness may report, in the year 2242: any calendar can show it."""

SPAWN: Final = Options(SpawnOptions, "option of Spawn")
DEPLOY: Final = Options(DeployOptions, "option of Deploy", changes=Field(max_length=4000))
REPORT: Final = Options(
    Report,
    "field of a report",
    context_tokens=Field(ge=0, lt=1 << 63),
    context_limit=Field(ge=0, lt=1 << 63),
    until=Field(ge=0, le=LATEST),
    provider_limit_until=Field(ge=0, le=LATEST),
)
CANCEL: Final = Options(CancelOptions, "option of CancelTurn")
COMMAND_RESULT: Final = Options(
    CommandResult, "field of a result", address=Field(max_length=MAX_URL)
)
LOGS: Final = Options(
    LogFilter,
    "key of a filter",
    priority=Field(ge=0, le=7),
    text=Field(max_length=200),
    before=Field(max_length=300),
    after=Field(max_length=300),
)
RESOURCES: Final = Options(ResourceChanges, "resource")
