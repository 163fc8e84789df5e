"""The command that shows an agent's journal."""

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import Number, past


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option(
    "-n", "--lines", type=Number(min=0), help="How many; 100, or with --since all, if not said."
)
@click.option(
    "--unit",
    "part",
    type=click.Choice(["container", "endpoint", "jobs", "build"]),
    help="Only what that logged; jobs: what was done to the agent.",
)
@click.option(
    "--build",
    "part",
    flag_value="build",
    help="Only what the builds of its configurations print: --unit build.",
)
@click.option("--since", type=past, metavar="TIME", help="Only what was logged since then.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for programs.")
def logs(
    name: str,
    follow: bool,
    lines: int | None,
    part: str | None,
    since: int | None,
    as_json: bool,
) -> None:
    """Show what an agent and its container logged.

    Its endpoint, its jobs and its builds, too.
    """
    from hivectl.host.journal import Part, Wanted, journalctl

    journalctl(
        name, Wanted(Part(part) if part else None, lines, since, follow=follow, as_json=as_json)
    )


COMMANDS = [logs]
