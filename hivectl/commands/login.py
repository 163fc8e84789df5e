"""The command that logs an agent in: login."""

import sys
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command()
@click.argument("name", shell_complete=complete_agents)
@hive_command
async def login(hive: "Hive", output: Output, name: str) -> None:
    """Log an agent in to an account at Anthropic.

    Prints the address of a page. Open it in a browser on any machine, log in, and enter the code
    that the page shows; without a terminal, the code is read from standard input. Each agent has
    its own login. The agent's harness must run.

    The agent's container names the page. An address that is not a login page of Anthropic is
    refused.
    """
    from hivectl.clients import logins
    from hivectl.host import codes
    from wire.records.lifecycle import AgentState

    agent = await hive.agents.get(name)
    if agent.state is not AgentState.RUNNING:
        raise CommandError(
            Exit.CONFLICT,
            f"{name} is {agent.state}, and only a running agent can log in. Run `hivectl start "
            f"{name}` first.",
        )
    if not codes.has_code(sys.stdin):
        raise CommandError(
            Exit.USAGE,
            "login asks for the code that a page shows, and there is neither a terminal nor a code "
            "on standard input. Run it in a terminal; nothing was changed.",
        )
    async with logins.login(hive.agents, name) as begun:
        output.note("Open this page, log in, and copy the code that it shows:")
        output.note(str(begun.page))
        if sys.stdin.isatty():
            click.echo("Code: ", nl=False, err=True)
        said = await begun.enter(_checked(await codes.read_code(sys.stdin)))
    output.show({"agent": name, "result": "logged in"}, [one_line(said)])


def _checked(code: str) -> str:
    if not code or not code.isprintable():
        raise CommandError(Exit.USAGE, "No code was entered; nothing was changed.")
    return code


COMMANDS = [login]
