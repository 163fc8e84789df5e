"""The commands about the dashboard: login-link, sessions."""

from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_sessions
from hivectl.arguments.types import record_id
from hivectl.command_table import Group
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output, Row
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

ROLES = ["operator", "reviewer", "guest"]


@click.command("login-link")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default=ROLES[0],
    show_default=True,
    help="The role of the person who opens the link.",
)
@hive_command
async def login_link(hive: "Hive", output: Output, role: str) -> None:
    """Print a link that logs you in to the dashboard.

    The link works once, within 15 minutes. The session is valid for 30 days. An `operator` may do
    everything. A `reviewer` may read, answer questions and refused hosts, and approve and deny
    requests. A `guest` may only read.
    """
    from hivectl.host.listeners import DASHBOARD, occupant
    from wire.errors import Unavailable
    from wire.records.dashboard import Role

    try:
        url = await hive.dashboard.login_link(Role(role))
    except Unavailable as error:
        found = await occupant(DASHBOARD)
        raise Unavailable(" ".join(found) if found else str(error)) from error
    output.show({"url": url, "role": role}, [output.paint(url, "")])


@click.group(cls=Group, invoke_without_command=True)
@output_options
@click.pass_context
def sessions(context: click.Context) -> None:
    """List the sessions of the dashboard, the last used first.

    A session is a browser that is logged in. The address is that of the browser, or that of a proxy
    or a tunnel through which the browser reaches the dashboard. The last use is accurate to ten
    minutes.
    """
    if context.invoked_subcommand is None:
        _list_sessions()


@hive_command
async def _list_sessions(hive: "Hive", output: Output) -> None:
    found = await hive.dashboard.list_sessions()
    rows: list[Row] = [
        [
            str(one.id),
            one.role,
            one_line(f"{one.way} {one.name}".strip()),
            literal(one.browser),
            literal(one.address),
            local_time(one.began),
            local_time(one.used),
        ]
        for one in found
    ]
    head = ["ID", "ROLE", "BY", "BROWSER", "ADDRESS", "BEGAN", "USED"]
    lines = output.table(head, rows, optional=("BEGAN", "ADDRESS"), whole=True)
    output.show([json_forms.session(one) for one in found], lines or ["nobody is logged in"])


@sessions.command("revoke")
@click.argument(
    "ids",
    metavar="ID...",
    nargs=-1,
    required=True,
    type=record_id,
    shell_complete=complete_sessions,
)
@hive_command
async def revoke(hive: "Hive", output: Output, ids: tuple[int, ...]) -> None:
    """End sessions: their browsers are logged out at once."""
    for number in ids:
        await hive.dashboard.revoke_session(number)
    output.show(
        [{"session": number, "revoked": True} for number in ids],
        [f"session {number} has ended" for number in ids],
    )


COMMANDS = [login_link, sessions]
