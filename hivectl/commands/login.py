"""The command that logs an agent in."""

import os
import sys
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

MAX_CODE = 4096


@click.command()
@click.argument("name", shell_complete=complete_agents)
@hive_command
async def login(hive: "Hive", output: Output, name: str) -> None:
    """Log an agent in, with a browser anywhere.

    Shows the address of a page; log in there, and give the code that it shows. Each agent has a
    login of its own. The code may also come on standard input.
    """
    from hivectl.host import login as logins

    agent = await hive.lifecycle.agent(name)
    if agent.state != "running":
        raise CommandError(Exit.CONFLICT, f"{name} is {agent.state}; start it first.")
    if os.geteuid() != 0:
        raise CommandError(Exit.DENIED, "A login runs in the agent's container: that needs root.")
    async with logins.login(agent.machine) as session:
        address = await session.address()
        if not logins.is_known(address):
            output.note(
                f"Careful: the container of {name} names a page that is not one of Anthropic's. "
                "Do not log in there."
            )
        output.note("Open this page, log in, and copy the code that it shows:")
        output.note(address)
        await session.give(_code())
    output.show({"agent": name, "result": "logged in"}, [f"{name}: logged in"])


def _code() -> str:
    if sys.stdin.isatty():
        code = str(click.prompt("Code", err=True))
    else:
        code = sys.stdin.readline(MAX_CODE)
    code = code.strip()
    if not code or not code.isprintable():
        raise CommandError(Exit.USAGE, "There was no code; nothing was changed.")
    return code


COMMANDS = [login]
