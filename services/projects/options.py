"""The options of calls, checked against their records."""

from typing import Final

from pydantic import Field

from services.options import Options
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDiffOptions,
    ChangeFilter,
    CommentOptions,
    SubmitOptions,
)
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

_NUMBER: Final = Field(ge=1, le=2**53 - 1)
_PATH: Final = Field(max_length=4096)

SUBMIT: Final = Options(SubmitOptions, "option of Submit", branch=_NAME, replaces=_NUMBER)
CHANGES: Final = Options(
    ChangeFilter,
    "key of the filter of List",
    project=_NAME,
    agent=_NAME,
    limit=Field(ge=1, le=1000),
)
CHANGE_DIFF: Final = Options(
    ChangeDiffOptions,
    "option of Diff",
    revision=_NUMBER,
    since=_NUMBER,
    commit=Field(pattern="^[0-9a-f]{7,40}$"),
    path=_PATH,
    context=Field(le=100_000),
)
COMMENT: Final = Options(
    CommentOptions, "option of Comment", revision=_NUMBER, path=_PATH, line=Field(le=2**31)
)
APPROVE: Final = Options(ApproveChangeOptions, "option of Approve")
