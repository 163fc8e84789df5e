"""The command that shows an agent's journal: logs."""

import functools

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number, past
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
@functools.partial(output_options, printed="one JSON object per line")
def logs(
    name: str,
    follow: bool,
    lines: int | None,
    part: str | None,
    since: int | None,
) -> int:
    """Show the journal of an agent.

    Shows the lines of the agent's container, endpoint, gateway, jobs and builds, with hidden
    characters spelled out. TIME is written as for `hivectl history`.
    """
    from hivectl.host.journal import Part, Wanted, journalctl

    as_json = preferences().form is not Form.SHORT
    return journalctl(
        name, Wanted(Part(part) if part else None, lines, since, follow=follow, as_json=as_json)
    )


COMMANDS = [logs]
