"""Commands about requests for approval: pending, approve, deny, withdraw, diff."""

import functools
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_all_requests, complete_requests
from hivectl.arguments.types import number
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import one_line
from hivectl.session import follow, hive_command, job_options

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.approvals import Approval

DEPLOY_SECONDS = 900
"""The seconds that `approve` waits by default: packages are downloaded, and turns must end."""

_request = click.argument(
    "number", metavar="ID", type=number(least=1), shell_complete=complete_requests
)
_any_request = click.argument(
    "number", metavar="ID", type=number(least=1), shell_complete=complete_all_requests
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

    `hivectl diff ID` shows what a request changes.
    """
    from wire.records.approvals import ApprovalFilter, ApprovalState

    state = None if everything else ApprovalState.PENDING
    requests = await hive.approvals.list_approvals(ApprovalFilter(state=state))
    nothing = ["no requests yet" if everything else "no pending requests"]
    lines = _lines(requests, output) if full else _table(requests, output)
    output.show([json_forms.approval(r) for r in requests], lines or nothing)


def _table(requests: "list[Approval]", output: Output) -> list[str]:
    headers = ["ID", "KIND", "AGENT", "COMMIT", "BY", "REQUESTED", "STATE", "REASON"]
    rows: list[Row] = [
        [
            Cell(str(r.id), right=True),
            r.kind,
            r.agent,
            r.commit[:12] or "-",
            r.requested_by,
            local_time(r.requested),
            state_cell(r.state),
            # The note of a failed build continues with its log.
            one_line(f"{r.reason} ({r.note.partition(chr(10))[0]})" if r.note else r.reason),
        ]
        for r in requests
    ]
    return output.table(headers, rows)


def _lines(requests: "list[Approval]", output: Output) -> list[str]:
    lines: list[str] = []
    for r in requests:
        commit = f" {r.commit[:12]}" if r.commit else ""
        head = f"{r.id} {r.kind} {r.agent}{commit} by {r.requested_by} at "
        lines.append(output.paint(f"{head}{local_time(r.requested)}, {r.state}", "bold"))
        lines += output.indented(r.reason)
        lines += output.indented(f"note: {r.note}") if r.note else []
    return lines


@click.command()
@_request
@click.option(
    "--now",
    is_flag=True,
    help="Deploy without waiting for the end of the agent's turn. This also works on a request "
    "that is approved already.",
)
@functools.partial(job_options, default=DEPLOY_SECONDS)
@hive_command
async def approve(
    hive: "Hive", output: Output, number: int, now: bool, no_wait: bool, timeout: float
) -> None:
    """Approve a request, and wait until it is carried out.

    The configuration is built, and deployed once the agent's turn has ended.
    """
    method = hive.approvals.approve_now if now else hive.approvals.approve
    await follow(
        hive,
        output,
        lambda: method(number),
        _doing(number, now=now),
        no_wait=no_wait,
        timeout=timeout,
    )


def _doing(number: int, *, now: bool) -> str:
    doing = f"carrying out request {number}"
    if now:
        return doing
    return f"{doing} after the agent's turn; `hivectl approve {number} --now` does not wait"


@click.command()
@_request
@click.option("--note", metavar="TEXT", default="", help="The reason, for the manager.")
@hive_command
async def deny(hive: "Hive", output: Output, number: int, note: str) -> None:
    """Deny a request.

    The manager gets a message with your note.
    """
    await hive.approvals.deny(number, note)
    output.show({"id": number, "state": "denied"}, [f"request {number} denied"])


@click.command()
@_request
@hive_command
async def withdraw(hive: "Hive", output: Output, number: int) -> None:
    """Withdraw a request that is still pending."""
    await hive.approvals.withdraw(number)
    output.show({"id": number, "state": "withdrawn"}, [f"request {number} withdrawn"])


@click.command()
@_any_request
@hive_command
async def diff(hive: "Hive", output: Output, number: int) -> None:
    """Show what a request changes.

    Prints a unified diff from the deployed configuration to the requested one.
    """
    text = await hive.approvals.diff(number)
    output.show({"id": number, "diff": text}, output.diff(text) or ["no changes"])


COMMANDS = [pending, approve, deny, withdraw, diff]
