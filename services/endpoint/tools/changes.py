"""The tools with which agents hand back what they have made of a project."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from services.endpoint.jsonvalues import JsonObject
from services.endpoint.tools.arguments import Arguments, Name
from services.endpoint.tools.tool import MODELS, Context, Tool, ToolResult
from wire import names
from wire.errors import HiveError
from wire.records.changes import (
    ChangeDiffOptions,
    ChangeFilter,
    ChangeState,
    CommentOptions,
    ProjectChange,
    SubmitOptions,
)
from wire.records.codec import keys

log = logging.getLogger(__name__)

MAX_TEXT: Final = 10_000
MAX_DIFF: Final = 60_000
"""Characters of a diff that are returned; one of single files shows the rest."""
MAX_LISTED: Final = 50

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _number(value: object) -> int:
    found = names.CHANGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("it must be the id of a change, such as c12")
    return int(found[1])


ChangeId = Annotated[
    int,
    BeforeValidator(_number),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{names.CHANGE.pattern}$",
            "description": "The id of a change, such as c12.",
        }
    ),
]
Project = Annotated[
    str,
    Field(
        min_length=1,
        max_length=32,
        description="A project of yours: the name of its directory in /work.",
    ),
]
Commit = Annotated[
    str,
    Field(
        pattern="^[0-9a-fA-F]{7,40}$",
        description="The last of your commits, from `git rev-parse HEAD`: at least 7 digits. A "
        "branch is no commit.",
    ),
]


class SubmitChange(Arguments):
    """Arguments of `submit_change`."""

    project: Project
    commit: Commit
    title: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            description="One line that says what the change does.",
        ),
    ]
    description: Annotated[
        str,
        Field(
            max_length=MAX_TEXT,
            description="Why, how you tested it, and what the reviewer should look at.",
        ),
    ] = ""
    into: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=200,
            description="The branch that the change is for, if not the main branch of the project.",
        ),
    ] = None
    replaces: Annotated[
        ChangeId | None, Field(description="The id of a change of yours that this one replaces.")
    ] = None


class UpdateChange(Arguments):
    """Arguments of `update_change`."""

    id: ChangeId
    commit: Commit
    note: Annotated[
        str,
        Field(max_length=MAX_TEXT, description="What is new, for the reviewer."),
    ] = ""


class WithdrawChange(Arguments):
    """Arguments of `withdraw_change`."""

    id: ChangeId


class ListChanges(Arguments):
    """Arguments of `list_changes`."""

    project: Annotated[
        Project | None, Field(description="Only changes of this project of yours.")
    ] = None
    agent: Annotated[Name | None, Field(description="Only changes of this agent.")] = None
    closed: Annotated[
        bool,
        Field(description="Include changes that are merged, denied or withdrawn."),
    ] = False


class GetChange(Arguments):
    """Arguments of `get_change`."""

    id: ChangeId
    path: Annotated[
        str | None, Field(max_length=4096, description="Only the diff of this file.")
    ] = None
    since: Annotated[
        int | None,
        Field(ge=1, le=2**31, description="Only what has changed since this revision."),
    ] = None


class CommentOnChange(Arguments):
    """Arguments of `comment_on_change`."""

    id: ChangeId
    text: Annotated[
        str, Field(min_length=1, max_length=MAX_TEXT, description="The comment, in Markdown.")
    ]
    path: Annotated[
        str, Field(max_length=4096, description="The file that the comment is about.")
    ] = ""
    line: Annotated[
        int,
        Field(ge=0, le=2**31, description="The line of the file as the change has it."),
    ] = 0


async def _submit(context: Context, call: SubmitChange) -> ToolResult:
    options = SubmitOptions(branch=call.into, replaces=call.replaces)
    number = await context.services.submit_change(
        call.project, call.commit.lower(), call.title, call.description, options
    )
    return ToolResult({"change": names.change(number), **await _findings(context, number)})


async def _update(context: Context, call: UpdateChange) -> ToolResult:
    revision = await context.services.update_change(call.id, call.commit.lower(), call.note)
    about: JsonObject = {"change": names.change(call.id), "revision": revision}
    return ToolResult(about | await _findings(context, call.id))


async def _findings(context: Context, number: int) -> JsonObject:
    """Return what the operator is told of the newest revision, if anything.

    If that cannot be read, it is left out: the change exists, and is not submitted again.
    """
    try:
        [*_, newest] = (await context.services.get_change(number)).revisions
    except HiveError as error:
        log.warning("%s was submitted, but cannot be read: %s", names.change(number), error)
        return {}
    return {"pointed_out": newest.findings} if newest.findings else {}


async def _withdraw(context: Context, call: WithdrawChange) -> ToolResult:
    await context.services.withdraw_change(call.id)
    return ToolResult({"change": names.change(call.id), "state": ChangeState.WITHDRAWN})


async def _list(context: Context, call: ListChanges) -> ToolResult:
    wanted = ChangeFilter(
        project=call.project, agent=call.agent, closed=call.closed, limit=MAX_LISTED
    )
    found = await context.services.list_changes(wanted)
    return ToolResult({"changes": [_shown(change) for change in found]})


async def _get(context: Context, call: GetChange) -> ToolResult:
    details = await context.services.get_change(call.id)
    diff = await context.services.diff_change(
        call.id, ChangeDiffOptions(path=call.path, since=call.since)
    )
    result = _shown(details.change) | {
        "description": details.change.description,
        "revisions": [
            _without_empty(
                {
                    "revision": one.number,
                    "commit": one.commit,
                    "submitted": _time(one.submitted),
                    "note": one.note,
                    "pointed_out": one.findings,
                }
            )
            for one in details.revisions
        ],
        "comments": [
            _without_empty(
                {
                    "from": one.author,
                    "at": _time(one.at),
                    "revision": one.revision,
                    "path": one.path,
                    "line": one.line,
                    "text": one.text,
                }
            )
            for one in details.comments
        ],
        "merges": not diff.conflicts,
        "conflicts": diff.conflicts,
        "diff": diff.diff[:MAX_DIFF],
    }
    if diff.cut or len(diff.diff) > MAX_DIFF:
        result["diff_is_cut"] = "Ask for one file at a time with `path`."
    return ToolResult(result)


async def _comment(context: Context, call: CommentOnChange) -> ToolResult:
    options = CommentOptions(path=call.path, line=call.line)
    await context.services.comment_on_change(call.id, call.text, options)
    return ToolResult({"change": names.change(call.id)})


def _shown(change: ProjectChange) -> JsonObject:
    shown: JsonObject = dict(zip(keys(ProjectChange).values(), change, strict=True))
    del shown["description"]
    shown["id"] = names.change(change.id)
    shown["submitted"], shown["changed"] = _time(change.submitted), _time(change.changed)
    return _without_empty(shown)


def _without_empty(values: JsonObject) -> JsonObject:
    return {key: value for key, value in values.items() if value not in ("", 0, [])}


def _time(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="seconds")


TOOLS: Final = (
    Tool(
        "submit_change",
        "Hand commits back that you made in /work/PROJECT: the operator reviews them, and they get"
        " into the branch of the project. Make them on top of `origin/main`, and submit the last"
        " one. The change is about exactly this commit, whatever you do afterwards. Returns the id"
        " of the change at once; you get a message of kind `change` when the operator has decided,"
        " so end your turn instead of waiting. `pointed_out` has what the operator is told to look"
        " at.",
        SubmitChange,
        _submit,
        MODELS,
    ),
    Tool(
        "update_change",
        "Submit another commit as the next revision of your change, after the operator asked for"
        " changes, or after it conflicted: rebase onto `origin/main` first (`git fetch`).",
        UpdateChange,
        _update,
        MODELS,
    ),
    Tool(
        "withdraw_change",
        "Take back a change that the operator has not approved yet; it takes no update any more.",
        WithdrawChange,
        _withdraw,
        MODELS,
    ),
    Tool(
        "list_changes",
        f"List the changes of your projects that wait for somebody, the newest {MAX_LISTED}; those"
        " of other agents, too.",
        ListChanges,
        _list,
        MODELS,
    ),
    Tool(
        "get_change",
        "Return a change: its state, revisions, comments, diff, and the files in which it"
        " conflicts with its branch.",
        GetChange,
        _get,
        MODELS,
    ),
    Tool(
        "comment_on_change",
        "Comment on a change, such as in answer to a comment of the operator. The agent of the"
        " change gets a message; the operator reads it with the change.",
        CommentOnChange,
        _comment,
        MODELS,
    ),
)
