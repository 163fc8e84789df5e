"""The command that shows an agent's journal: logs."""

import functools

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import PriorityType, number, past
from hivectl.output.preferences import Form, output_options, preferences


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option("-f", "--follow", is_flag=True, help="Continue with new lines as they are logged.")
@click.option(
    "-n",
    "--lines",
    type=number(least=0),
    metavar="N",
    help="Show the newest N lines.  [default: 100; all with --since]",
)
@click.option(
    "-u",
    "--unit",
    "part",
    type=click.Choice(["container", "endpoint", "gateway", "jobs", "build"]),
    help="Only lines of this part; `jobs` selects the jobs that lifecycle ran for the agent.",
)
@click.option(
    "--build",
    "part",
    flag_value="build",
    help="The same as --unit build: only lines from builds of the agent's configurations.",
)
@click.option("--since", type=past, metavar="TIME", help="Only lines since TIME.")
@click.option(
    "-p",
    "--priority",
    type=PriorityType(),
    metavar="PRIORITY",
    help="Only lines of this priority or of a more urgent one: a name such as `err`, or 0 to 7.",
)
@click.option(
    "-g",
    "--grep",
    "pattern",
    metavar="PATTERN",
    help="Only lines that match PATTERN, as `journalctl --grep` reads it.",
)
@functools.partial(output_options, printed="one JSON object per line")
def logs(
    name: str,
    follow: bool,
    lines: int | None,
    part: str | None,
    since: int | None,
    priority: int | None,
    pattern: str | None,
) -> int:
    """Show the journal of an agent.

    Shows the lines of the agent's container, endpoint, gateway, jobs and builds, with hidden
    characters spelled out. TIME is written as for `hivectl history`. Without the right to read the
    journal, which root and members of the group systemd-journal have, only the host's lines are
    shown, and PATTERN is plain text, not a regular expression.
    """
    from hivectl.host.journal import Part, Wanted, journalctl

    as_json = preferences().form is not Form.SHORT
    chosen = Part(part) if part else None
    return journalctl(name, Wanted(chosen, lines, since, follow, as_json, priority, pattern))


COMMANDS = [logs]
