"""The options of calls, checked against their records."""

from typing import Final

from pydantic import Field

from services.options import Options
from wire.records.projects import AddOptions, HookHeaders, SetOptions

_NAME: Final = Field(min_length=1, max_length=200)

ADD: Final = Options(
    AddOptions,
    "option of Add",
    branch=_NAME,
    credential=_NAME,
    depth=Field(ge=1, le=1_000_000),
    filter=_NAME,
)
_HEADER: Final = Field(max_length=8000)
HOOK: Final = Options(
    HookHeaders, "header of ReceiveHook", **dict.fromkeys(HookHeaders._fields, _HEADER)
)
SET: Final = Options(
    SetOptions,
    "option of Set",
    source=Field(min_length=1, max_length=1000),
    branch=_NAME,
    credential=Field(max_length=200),
)
