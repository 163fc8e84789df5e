"""The command that shows an agent's journal."""

import click

from hivectl.completing import complete_agents
from hivectl.parameters import Number


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is logged from now on.")
@click.option("-n", "--lines", type=Number(min=0), default=100, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for programs.")
def logs(name: str, follow: bool, lines: int, as_json: bool) -> None:
    """Show what an agent and its container logged."""
    from hivectl.journal import journalctl

    journalctl(name, follow=follow, lines=lines, as_json=as_json)


COMMANDS = [logs]
