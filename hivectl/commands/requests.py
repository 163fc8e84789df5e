"""Commands of the operator's desk: pending, approve, deny, login-link."""

from typing import TYPE_CHECKING

import click

from hivectl.completing import complete_requests
from hivectl.output import Cell, Output, Row, state_cell
from hivectl.parameters import Number
from hivectl.session import follow, hive_command, job_options
from hivectl.text import local_time, one_line

if TYPE_CHECKING:
    from hivectl.client import Hive

_request = click.argument(
    "number", metavar="ID", type=Number(min=1), shell_complete=complete_requests
)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Show resolved requests, too.")
@hive_command
async def pending(hive: "Hive", output: Output, everything: bool) -> None:
    """Show what waits for the operator's approval."""
    requests = await hive.requests({} if everything else {"state": "pending"})
    headers = ["ID", "KIND", "AGENT", "BY", "REQUESTED", "STATE", "REASON"]
    rows: list[Row] = [
        [
            Cell(str(r.id), right=True),
            r.kind,
            r.agent,
            r.requested_by,
            local_time(r.requested),
            state_cell(r.state),
            one_line(f"{r.reason} ({r.note})" if r.note else r.reason),
        ]
        for r in requests
    ]
    nothing = ["no requests yet" if everything else "nothing waits for approval"]
    output.show([r.as_json() for r in requests], output.table(headers, rows) or nothing)


@click.command()
@_request
@job_options
@hive_command
async def approve(hive: "Hive", output: Output, number: int, no_wait: bool, timeout: float) -> None:
    """Approve a request, and wait until it is carried out."""
    await follow(
        hive,
        output,
        lambda: hive.approve(number),
        f"carrying out request {number}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command()
@_request
@click.option("--note", default="", help="Tells the manager why.")
@hive_command
async def deny(hive: "Hive", output: Output, number: int, note: str) -> None:
    """Deny a request."""
    await hive.deny(number, note)
    output.show({"id": number, "state": "denied"}, [f"request {number} denied"])


@click.command("login-link")
@hive_command
async def login_link(hive: "Hive", output: Output) -> None:
    """Print an address that logs you in to the dashboard, once."""
    url = await hive.login_link()
    output.show({"url": url}, [output.paint(url, "")])


COMMANDS = [pending, approve, deny, login_link]
