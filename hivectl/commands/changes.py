"""Commands about changes of projects: changes, review, comment, request-changes, fetch.

approve, deny and diff are commands of requests, too (approvals.py); what they do with a change is
here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hivectl.arguments.completers import complete_agents, complete_changes, complete_projects
from hivectl.arguments.types import change as change_id
from hivectl.arguments.types import commit, number, place
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import local_time, short_time, size
from hivectl.output.terminal import Cell, Output, Row, confirm, require_terminal, state_cell
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.changes import (
        ChangeDetails,
        ChangedFile,
        ChangeDiff,
        ProjectChange,
    )

Callback = TypeVar("Callback", bound=Callable[..., object])

MAX_FILES = 20
"""The files that are listed before a question."""
SUBMODULE = "160000"
NOTHING = "000000"

_change = click.argument("id", metavar="CHANGE", type=change_id, shell_complete=complete_changes)
_at = click.option(
    "--at",
    metavar="FILE[:LINE]",
    type=place,
    help="The file, and the line of it as the change has it.",
)


def diff_options(command: Callback) -> Callback:
    """Add the options of a diff of a change."""
    for option in (
        click.option("--functions", is_flag=True, help="Show whole functions around changes."),
        click.option(
            "--context", type=number(0, 100_000), metavar="N", help="Show N lines around changes."
        ),
        click.option("--path", metavar="FILE", help="Show only the diff of FILE."),
        click.option(
            "--only", "commit", metavar="COMMIT", type=commit, help="Show only what COMMIT changes."
        ),
        click.option(
            "--since",
            type=number(1),
            metavar="N",
            help="Show the difference between revision N and the newest one, or --revision.",
        ),
        click.option("--revision", type=number(1), metavar="N", help="Show revision N."),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--project", metavar="PROJECT", shell_complete=complete_projects)
@click.option("--agent", metavar="AGENT", shell_complete=complete_agents)
@click.option("--all", "everything", is_flag=True, help="Include those that have ended.")
@hive_command
async def changes(
    hive: "Hive", output: Output, project: str | None, agent: str | None, everything: bool
) -> None:
    """List the changes that agents have handed back.

    `open` ones wait for you: `hivectl review CHANGE` shows one. `changes-requested` and `conflict`
    ones wait for their agents.
    """
    from wire.records.changes import ChangeFilter

    wanted = ChangeFilter(project=project, agent=agent, closed=everything)
    found = await hive.changes.list_changes(wanted)
    nothing = ["no changes yet" if everything else "no changes wait for anybody"]
    output.show(
        [json_forms.project_change(one) for one in found],
        table(found, output) or nothing,
    )


def table(found: "Sequence[ProjectChange]", output: Output) -> list[str]:
    """Return the lines of a table of changes."""
    from wire import names

    rows: list[Row] = [
        [
            names.change(one.id),
            one.project,
            one.agent,
            literal(one.branch),
            Cell(str(one.revision), right=True),
            short_time(one.changed),
            state_cell(one.state),
            one_line(f"{one.title} ({one.note})" if one.note else one.title),
        ]
        for one in found
    ]
    headers = ["ID", "PROJECT", "AGENT", "BRANCH", "REV", "CHANGED", "STATE", "TITLE"]
    return output.table(headers, rows, optional=("REV", "CHANGED"))


@click.command()
@_change
@click.option("--revision", type=number(1), metavar="N", help="Show revision N.")
@hive_command
async def review(hive: "Hive", output: Output, id: int, revision: int | None) -> None:
    """Show a change of a project, with its comments and its diff.

    Shows the description, the findings, the commits, the comments, the files and the diff. Then
    `hivectl approve`, `hivectl request-changes` or `hivectl deny` it.
    """
    from wire.records.changes import ChangeDiffOptions

    details = await hive.changes.get_change(id)
    shown = await hive.changes.diff(id, ChangeDiffOptions(revision=revision))
    lines = [
        *_head(details.change, shown, output),
        *_description(details, output),
        *_commits(shown, output),
        *_comments(details, output),
        "",
        *_files(shown, output),
        "",
        *output.diff(shown.diff),
        *_cut(id, shown),
    ]
    about = json_forms.change_details(details) | json_forms.change_diff(shown)
    output.show(about, lines)


@click.command()
@_change
@click.argument("text")
@_at
@hive_command
async def comment(
    hive: "Hive", output: Output, id: int, text: str, at: tuple[str, int] | None
) -> None:
    """Comment on a change; its agent gets a message.

    Several comments together are better sent with `hivectl request-changes`.
    """
    from wire import names
    from wire.records.changes import CommentOptions

    path, line = at or ("", 0)
    await hive.changes.comment(id, text, CommentOptions(path=path, line=line))
    output.done({"id": names.change(id), "commented": True}, [f"{names.change(id)} commented on"])


@click.command("request-changes")
@_change
@click.option("--note", metavar="TEXT", default="", help="What you want to be changed.")
@click.option(
    "--comment",
    "comments",
    metavar="FILE[:LINE] TEXT",
    nargs=2,
    multiple=True,
    help="A comment on a file, or a line of it as the change has it. May be repeated.",
)
@click.option(
    "--commit",
    metavar="COMMIT",
    type=commit,
    help="The commit that you have read. Nothing is done if the change has another one by now.",
)
@hive_command
async def request_changes(
    hive: "Hive",
    output: Output,
    id: int,
    note: str,
    comments: Sequence[tuple[str, str]],
    commit: str | None,
) -> None:
    """Give a change back to its agent, with your comments.

    The agent gets all of your comments in one message. The change waits for the agent then, and is
    open again with its next revision.
    """
    from wire import names
    from wire.records.changes import LineComment

    found: list[LineComment] = []
    for where, text in comments:
        path, line = place(where)
        found.append(LineComment(path, line, text))
    if not note and not found:
        raise CommandError(Exit.USAGE, "Say what you want: give --note or --comment.")
    change = (await hive.changes.get_change(id)).change
    whole = _checked(change, change.commit, commit)
    await hive.changes.request_changes(id, whole, note, found)
    output.done(
        {"id": names.change(id), "state": "changes-requested"},
        [f"{names.change(id)} is given back to {change.agent}"],
    )


@click.command()
@click.argument("project", shell_complete=complete_projects)
@_change
@click.option("--revision", type=number(1), metavar="N", help="Fetch revision N.")
@click.option(
    "-C",
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    metavar="DIRECTORY",
    help="The clone, if not the one around.",
)
@hive_command
async def fetch(
    hive: "Hive",
    output: Output,
    project: str,
    id: int,
    revision: int | None,
    directory: Path,
) -> None:
    """Fetch a change into your clone of PROJECT.

    The clone is that of the current directory. Makes the reference hive/cN there, such as hive/c12;
    nothing is checked out. An agent has written the commits: build and run them as you would run a
    stranger's code.
    """
    from hivectl.host import clones
    from wire import names

    change = (await hive.changes.get_change(id)).change
    if change.project != project:
        raise CommandError(
            Exit.USAGE, f"{names.change(id)} is a change of {change.project}, not of {project}."
        )
    found = revision or change.revision
    bundle = await hive.changes.bundle(id, found)
    name = f"hive/{names.change(id)}"
    clones.fetch(bundle, f"refs/changes/{id}/{found}", f"refs/{name}", directory)
    branch = literal(change.branch)
    output.done(
        {"id": names.change(id), "revision": found, "reference": name},
        [f"{name} is revision {found}; `git log -p origin/{branch}..{name}` shows it"],
    )


async def approve(
    hive: "Hive",
    output: Output,
    id: int,
    commit: str | None,
    base: str | None,
    how: str | None,
    *,
    no_wait: bool,
    timeout: float,
) -> None:
    """Approve a change as it is shown, and wait until its branch has it.

    Raises:
        CommandError: the operator has read something else, does not agree, or cannot be asked; or
            the change conflicts, or could not be pushed.
    """
    from wire import names
    from wire.records.changes import ApproveChangeOptions, ChangeState, PublishMode

    change, shown = await _read(hive, output, id, commit, "approve")
    if commit is not None and not base and shown.base:
        raise CommandError(
            Exit.USAGE,
            "Name the base that you have read, too: hivectl approve "
            f"{names.change(id)} --commit {commit} --base COMMIT.",
        )
    if base is not None and not shown.base.startswith(base):
        raise CommandError(
            Exit.CONFLICT,
            f"{literal(change.branch)} is at {shown.base}, not at {base}: look at "
            f"{names.change(id)} again (`hivectl diff {names.change(id)}`).",
        )
    if commit is None:
        confirm(f"Approve {names.change(id)} at {shown.commit[:12]}?", "approve")
    options = ApproveChangeOptions(None if how is None else PublishMode(how))

    async def begin() -> None:
        await hive.changes.approve(id, shown.commit, shown.base, options)

    if no_wait:
        await begin()
        output.done(
            {"id": names.change(id), "state": "approved"}, [f"{names.change(id)} is approved"]
        )
        return
    ended = await hive.project_changes.published(id, begin, timeout)
    if ended.state not in (ChangeState.MERGED, ChangeState.PUBLISHED):
        raise CommandError(
            Exit.CONFLICT if ended.state is ChangeState.CONFLICT else Exit.FAILED,
            f"{names.change(id)} is {ended.state}: {one_line(ended.note)}",
        )
    output.show(
        json_forms.project_change(ended),
        [
            f"{names.change(id)} is {ended.state}: {literal(ended.branch)} of {ended.project} "
            f"has {ended.published[:12]}"
        ],
    )


async def deny(hive: "Hive", output: Output, id: int, commit: str | None, note: str) -> None:
    """Deny a change as it is shown; raise as `approve`."""
    from wire import names
    from wire.errors import HiveError

    try:
        _, shown = await _read(hive, output, id, commit, "deny")
        newest = shown.commit
    except HiveError as error:
        # A change of which no diff can be made must be denied, too: its commits may be lost.
        change = (await hive.changes.get_change(id)).change
        newest = _checked(change, change.commit, commit)
        output.note(f"{names.change(id)}, {literal(change.title)}: {error}")
    if commit is None:
        confirm(f"Deny {names.change(id)} at {newest[:12]}?", "deny")
    await hive.changes.deny(id, newest, note)
    output.show({"id": names.change(id), "state": "denied"}, [f"{names.change(id)} is denied"])


async def diff(hive: "Hive", output: Output, id: int, **options: Any) -> None:
    """Show what a change changes, with the commits that an approval names."""
    from wire.records.changes import ChangeDiffOptions

    shown = await hive.changes.diff(id, ChangeDiffOptions(**options))
    change = (await hive.changes.get_change(id)).change
    lines = [
        *_head(change, shown, output),
        "",
        *(output.diff(shown.diff) or ["no changes"]),
        *_cut(id, shown),
    ]
    output.show(json_forms.project_change(change) | json_forms.change_diff(shown), lines)


async def _read(
    hive: "Hive", output: Output, id: int, commit: str | None, verb: str
) -> "tuple[ProjectChange, ChangeDiff]":
    """Show a change before it is decided; see `approve`."""
    from wire import names
    from wire.records.changes import ChangeDiffOptions

    if commit is None:
        remedy = f"Name what you have read: hivectl {verb} {names.change(id)} --commit COMMIT."
        require_terminal(verb, remedy)
    details = await hive.changes.get_change(id)
    shown = await hive.changes.diff(id, ChangeDiffOptions())
    _checked(details.change, shown.commit, commit)
    files = _files(shown, output, MAX_FILES)
    findings = _found(details.revisions[-1].findings, output)
    lines = [*_head(details.change, shown, output), *findings, *files]
    output.explain(lines, always=commit is None)
    return details.change, shown


def _checked(change: "ProjectChange", newest: str, commit: str | None) -> str:
    """Return the newest commit of a change, if it is the one that the operator has read.

    Raises:
        CommandError: it is not.
    """
    from wire import names

    if commit is not None and not newest.startswith(commit):
        raise CommandError(
            Exit.CONFLICT,
            f"{names.change(change.id)} is at commit {newest} (revision {change.revision}), not at "
            f"{commit}: look at it again (`hivectl diff {names.change(change.id)}`).",
        )
    return newest


def _head(change: "ProjectChange", shown: "ChangeDiff", output: Output) -> list[str]:
    """Return what the change is, without colours: the lines also stand before a question."""
    from wire import names
    from wire.records.changes import ChangeState

    about = [
        f"of {change.agent}, for {literal(change.branch)} of {change.project}, {change.state}",
        *([one_line(change.note)] if change.note else ()),
        f"commit  {shown.commit} (revision {shown.revision} of {change.revision})",
        f"base    {shown.base or '(none: the branch is empty)'}",
    ]
    if change.state in (ChangeState.MERGED, ChangeState.PUBLISHED):
        about.append(f"as      {change.published}")
    elif shown.conflicts:
        files = ", ".join(map(literal, shown.conflicts))
        about.append(f"merge   conflicts in {files}")
    elif shown.base:
        about.append("merge   clean")
    title = output.heading(f"{names.change(change.id)}: {one_line(change.title)}")
    return [*title, *(line for one in about for line in output.indented(one))]


def _description(details: "ChangeDetails", output: Output) -> list[str]:
    said = details.change.description
    lines = ["", *output.indented(said)] if said else []
    for revision in details.revisions:
        if revision.note:
            lines += ["", f"revision {revision.number}, {local_time(revision.submitted)}:"]
            lines += output.indented(revision.note)
    findings = details.revisions[-1].findings
    return lines + (["", *_found(findings, output)] if findings else [])


def _found(findings: Sequence[str], output: Output) -> list[str]:
    return [line for one in findings for line in output.indented(f"! {literal(one)}")]


def _commits(shown: "ChangeDiff", output: Output) -> list[str]:
    rows: list[Row] = [
        [one.commit[:12], local_time(one.at), one_line(one.author), one_line(one.subject)]
        for one in shown.commits
    ]
    return ["", *output.table(["COMMIT", "DATE", "AUTHOR", "SUBJECT"], rows)] if rows else []


def _comments(details: "ChangeDetails", output: Output) -> list[str]:
    lines = []
    for one in details.comments:
        where = f", {literal(one.path)}" if one.path else ""
        where += f":{one.line}" if one.line else ""
        head = f"{one.author}, {local_time(one.at)}, revision {one.revision}{where}:"
        lines += ["", *output.heading(head), *output.indented(one.text)]
    return lines


def _files(shown: "ChangeDiff", output: Output, most: int | None = None) -> list[str]:
    """Return the lines about the first `most` files, and the number of the others; None: all."""
    rows: list[Row] = [[one.status, _counts(one), _path(one)] for one in shown.files[:most]]
    lines = output.table(["", "LINES", "FILE"], rows, whole=True)
    others = len(shown.files) - len(rows) + shown.more_files
    return [*lines, f"  and {others} more files"] if others else lines


def _counts(file: "ChangedFile") -> str:
    if SUBMODULE in (file.old_mode, file.new_mode):
        return "submodule"
    if file.binary:
        return f"{size(file.old_size)} -> {size(file.new_size)}"
    return f"+{file.added} -{file.removed}"


def _path(file: "ChangedFile") -> str:
    shown = literal(file.path)
    if file.old_path != file.path:
        shown = f"{literal(file.old_path)} -> {shown}"
    if file.old_mode != file.new_mode and NOTHING not in (file.old_mode, file.new_mode):
        shown += f" (mode {file.old_mode} -> {file.new_mode})"
    return shown


def _cut(id: int, shown: "ChangeDiff") -> list[str]:
    from wire import names

    if not shown.cut:
        return []
    return [
        "[cut here: the diff is too long. See one file at a time: "
        f"hivectl diff {names.change(id)} --path FILE]"
    ]


COMMANDS = [changes, review, comment, request_changes, fetch]
