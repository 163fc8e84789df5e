"""Commands about requests for approval: pending, approve, deny, withdraw, diff.

approve, deny and diff take the ID of a change of a project, too, which has a letter: c12.
"""

import functools
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import (
    complete_all_reviewed,
    complete_requests,
    complete_reviewed,
)
from hivectl.arguments.types import Reviewed, commit, number, reviewed
from hivectl.commands import changes
from hivectl.commands.egress import marked_place
from hivectl.commands.project import WAYS
from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import follow, job_options
from hivectl.output import json_forms
from hivectl.output.diffstat import diffstat, settings
from hivectl.output.formats import local_time, short_time, spent_of
from hivectl.output.terminal import Cell, Output, Row, confirm, require_terminal, state_cell
from hivectl.output.text import elide, literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.approvals import Approval
    from wire.records.changes import ProjectChange
    from wire.records.ledger import Budget, Egress

TITLE_COLUMNS = 200
"""The columns of a title where no terminal says how many fit."""
DEPLOY_SECONDS = 900
"""The seconds that `approve` waits by default: packages are downloaded, and turns must end."""
LEDGER_SECONDS = 5.0
"""The seconds that `pending` waits for the ledger."""
MAX_REFUSED = 200
"""The refused hosts that `pending` lists; `egress --pending` lists more."""

_request = click.argument(
    "number", metavar="ID", type=number(least=1), shell_complete=complete_requests
)
_reviewed = click.argument("id", metavar="ID", type=reviewed, shell_complete=complete_reviewed)
_any_reviewed = click.argument(
    "id", metavar="ID", type=reviewed, shell_complete=complete_all_reviewed
)


# There is no completion of it: the operator must have seen the commit.
_commit = click.option(
    "--commit",
    metavar="COMMIT",
    type=commit,
    help="The commit that you have read, at least 7 of its digits. Nothing is done if the request "
    "is for another commit. Required without a terminal. With --commit, no confirmation is asked.",
)
_base = click.option(
    "--base",
    metavar="COMMIT",
    type=commit,
    help="The base of a change that you have read. Nothing is done if its branch has moved. "
    "Required together with --commit, unless the branch is empty.",
)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Include resolved requests.")
@click.option(
    "--full",
    is_flag=True,
    help="Show complete reasons and notes, such as the log of a failed build.",
)
@hive_command
async def pending(hive: "Hive", output: Output, everything: bool, full: bool) -> None:
    """List the requests that wait for your approval.

    `hivectl diff ID` shows what a request changes. Below are the changes of projects that are open
    (`hivectl review`), the hosts that were refused to agents and about which you have not decided
    (`hivectl allow-egress`, `hivectl deny-egress`), and the budgets that are used up (`hivectl
    answer`). In the JSON, these have the `kind` `change`, `egress` and `budget`.
    """
    from wire.records.approvals import ApprovalFilter, ApprovalState

    state = None if everything else ApprovalState.PENDING
    requests = await hive.approvals.list_approvals(ApprovalFilter(state=state))
    waiting = await _open_changes(hive, output)
    refused, exhausted = await _of_ledger(hive, output)
    nothing = ["no requests yet" if everything else "no pending requests"]
    lines = _lines(requests, output) if full else _table(requests, output)
    for title, more in (
        ("open changes:", changes.table(waiting, output)),
        ("refused hosts:", _refused_table(refused, output)),
        ("budgets that are used up:", _exhausted_lines(exhausted)),
    ):
        if more:
            lines += [*([""] if lines else []), output.paint(title, "bold"), *more]
    output.show(
        [
            *map(json_forms.approval, requests),
            *map(json_forms.pending_change, waiting),
            *map(json_forms.pending_egress, refused),
            *map(json_forms.pending_budget, exhausted),
        ],
        lines or nothing,
    )


async def _open_changes(hive: "Hive", output: Output) -> "list[ProjectChange]":
    """Return the changes that wait for the operator; there are none without hive-projects."""
    from wire.errors import HiveError
    from wire.records.changes import ChangeFilter, ChangeState

    wanted = ChangeFilter(state=ChangeState.OPEN)
    try:
        return await hive.changes.within(LEDGER_SECONDS).list_changes(wanted)
    except HiveError as error:
        output.explain([f"Changes of projects are not known: {error}"], always=True)
        return []


async def _of_ledger(hive: "Hive", output: Output) -> "tuple[list[Egress], list[Budget]]":
    """Return the hosts that wait for a decision, and the budgets about which there is a question.

    Without the ledger, there are none: the requests for approval must be shown all the same.
    """
    from wire.errors import HiveError
    from wire.records.ledger import EgressFilter, EgressState

    ledger = hive.ledger.within(LEDGER_SECONDS)
    try:
        refused = await ledger.list_egress(EgressFilter(state=EgressState.PENDING), MAX_REFUSED)
        budgets = await ledger.list_budgets()
    except HiveError as error:
        output.explain([f"Refused hosts and budgets are not known: {error}"], always=True)
        return [], []
    return refused[::-1], [budget for budget in budgets if budget.question]


def _refused_table(refused: "list[Egress]", output: Output) -> list[str]:
    rows: list[Row] = [
        [
            e.agent,
            Cell(f"{e.refused} {'time' if e.refused == 1 else 'times'}", right=True),
            local_time(e.last),
            f"{marked_place(e)}{f' ({one_line(e.reason)})' if e.reason else ''}",
        ]
        for e in refused
    ]
    return output.table(["AGENT", "REFUSED", "LAST", "HOST"], rows, whole=True)


def _exhausted_lines(exhausted: "list[Budget]") -> list[str]:
    return [
        f"{b.kind if b.kind == b.name else f'{b.kind} {literal(b.name)}'}, {b.period}: "
        f"{', '.join(spent_of(b))}; `hivectl answer {b.question}` answers the question about it"
        for b in exhausted
    ]


def _table(requests: "list[Approval]", output: Output) -> list[str]:
    headers = ["ID", "KIND", "AGENT", "COMMIT", "BY", "REQUESTED", "STATE", "REASON"]
    rows: list[Row] = [
        [
            Cell(str(r.id), right=True),
            r.kind,
            r.agent,
            r.commit[:12] or "-",
            r.requested_by,
            short_time(r.requested),
            state_cell(r.state),
            # The note of a failed build continues with its log.
            one_line(f"{r.reason} ({r.note.partition(chr(10))[0]})" if r.note else r.reason),
        ]
        for r in requests
    ]
    return output.table(headers, rows, optional=("BY", "STATE", "KIND"))


def _lines(requests: "list[Approval]", output: Output) -> list[str]:
    lines: list[str] = []
    for r in requests:
        commit = f" {r.commit[:12]}" if r.commit else ""
        head = f"{r.id} {r.kind} {r.agent}{commit} by {r.requested_by} at "
        lines += output.heading(f"{head}{local_time(r.requested)}, {r.state}")
        lines += output.indented(r.reason)
        lines += output.indented(f"note: {r.note}") if r.note else []
    return lines


@click.command()
@_reviewed
@_commit
@_base
@click.option(
    "--how",
    type=click.Choice(WAYS),
    help="How a change gets into its branch, if not as the project says; `branch` makes one of its "
    "own, such as hive/c12.",
)
@click.option(
    "--now",
    is_flag=True,
    help="Deploy without waiting for the end of the agent's turn. This also works on a request "
    "that is approved already.",
)
@functools.partial(job_options, default=DEPLOY_SECONDS)
@hive_command
async def approve(
    hive: "Hive",
    output: Output,
    id: Reviewed,
    commit: str | None,
    base: str | None,
    how: str | None,
    now: bool,
    no_wait: bool,
    timeout: float,
) -> None:
    """Approve a request or a change, and wait for its end.

    Shows it, asks before it approves, and waits until it is carried out. `hivectl diff ID` shows
    all of it. ID is 12 for a request (`hivectl pending`), and c12 for a change of a project
    (`hivectl changes`).

    The configuration of a request is built, and deployed once the agent's turn has ended. A change
    is merged into its branch, and pushed to upstream.
    """
    from wire.records.approvals import ApprovalOptions

    if id.is_change:
        _refuse("a change", now=now)
        await changes.approve(
            hive, output, id.number, commit, base, how, no_wait=no_wait, timeout=timeout
        )
        return
    _refuse("a request", how=how, base=base)
    number = id.number
    request, shown = await _read(hive, output, number, commit, "approve", now=now)
    method = hive.approvals.approve_now if now else hive.approvals.approve
    await follow(
        hive,
        output,
        lambda: method(number, request.commit, ApprovalOptions(base=shown)),
        _doing(request, now=now),
        no_wait=no_wait,
        timeout=timeout,
    )


def _refuse(what: str, **options: object) -> None:
    """Check that no option is given that the other kind has."""
    for name, value in options.items():
        if value:
            raise CommandError(Exit.USAGE, f"--{name} has no meaning for {what}.")


def _doing(request: "Approval", *, now: bool) -> str:
    from wire.records.approvals import ApprovalKind

    doing = f"carrying out request {request.id}"
    if now or request.kind is ApprovalKind.SPAWN:
        return doing
    return f"{doing} after the agent's turn; `hivectl approve {request.id} --now` does not wait"


async def _read(
    hive: "Hive", output: Output, number: int, commit: str | None, verb: str, *, now: bool = False
) -> "tuple[Approval, str | None]":
    """Show a request that can be decided, and ask unless the operator has named its commit.

    Returns:
        The request, and the base of the change that was shown, if any.

    Raises:
        CommandError: there is no such request, it is about another commit, the operator does not
            agree, or cannot be asked.
    """
    from wire.records.approvals import ApprovalFilter, ApprovalState

    found = await hive.approvals.list_approvals(ApprovalFilter(id=number))
    if not found:
        raise CommandError(
            Exit.NOT_FOUND,
            f"There is no request {number}; `hivectl pending --all` lists all requests.",
        )
    [request] = found
    in_progress = (ApprovalState.APPROVED, ApprovalState.BUILDING)
    if request.state is not ApprovalState.PENDING and not (now and request.state in in_progress):
        return request, None  # approvals refuses the decision, and says why
    if commit is None:
        remedy = f"Name the commit that you have read: hivectl {verb} {number} --commit COMMIT."
        require_terminal(verb, remedy)
    if commit is not None and not request.commit.startswith(commit):
        raise CommandError(
            Exit.CONFLICT,
            f"Request {number} for {request.agent} is about commit {request.commit}, not {commit}: "
            f"look at it again (`hivectl diff {number}`).",
        )
    change = await hive.approvals.diff(number)
    # Cut: a title that the terminal wraps could look like a line of ours.
    room = (output.columns or TITLE_COLUMNS) - 2
    title = elide(one_line(request.reason.partition("\n")[0]), room)
    changed = map(literal, [*settings(change.diff), *diffstat(change.diff)])
    lines = [
        f"request {number}: {request.kind} {request.agent}, requested by {request.requested_by} at "
        f"{local_time(request.requested)}",
        *(f"  {line}" for line in (f"commit {request.commit}", title, *changed)),
    ]
    if commit is None:
        lines.append(f"  `hivectl diff {number}` shows all of it")
    output.explain(lines, always=commit is None)
    if commit is None:
        what = f"{request.kind} of {request.agent} at {request.commit[:12]}"
        confirm(f"{verb.capitalize()} request {number}, {what}?", verb)
    return request, change.base


@click.command()
@_reviewed
@_commit
@click.option("--note", metavar="TEXT", default="", help="The reason, for the manager or agent.")
@hive_command
async def deny(hive: "Hive", output: Output, id: Reviewed, commit: str | None, note: str) -> None:
    """Deny a request or a change.

    Shows it, and asks before it denies. The manager, or the agent of a change (c12), gets a message
    with your note.
    """
    number = id.number
    if id.is_change:
        await changes.deny(hive, output, number, commit, note)
        return
    request, _ = await _read(hive, output, number, commit, "deny")
    await hive.approvals.deny(number, request.commit, note)
    output.show({"id": number, "state": "denied"}, [f"request {number} denied"])


@click.command()
@_request
@hive_command
async def withdraw(hive: "Hive", output: Output, number: int) -> None:
    """Withdraw a request that is still pending."""
    await hive.approvals.withdraw(number)
    output.show({"id": number, "state": "withdrawn"}, [f"request {number} withdrawn"])


@click.command()
@_any_reviewed
@changes.diff_options
@hive_command
async def diff(hive: "Hive", output: Output, /, id: Reviewed, **options: object) -> None:
    """Show what a request or a change changes.

    Prints a unified diff: of a request (12) from the deployed configuration to the requested one,
    of a change (c12) from the commit where it branches off to its newest revision. The options are
    for changes.
    """
    if id.is_change:
        await changes.diff(hive, output, id.number, **options)
        return
    _refuse("a request", **options)
    change = await hive.approvals.diff(id.number)
    shown = {"id": id.number, **change._asdict()}
    output.show(shown, output.diff(change.diff) or ["no changes"])


COMMANDS = [pending, approve, deny, withdraw, diff]
