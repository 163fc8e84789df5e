"""The command about the dashboard: login-link."""

from typing import TYPE_CHECKING

import click

from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command("login-link")
@hive_command
async def login_link(hive: "Hive", output: Output) -> None:
    """Print a link that logs you in to the dashboard.

    The link works once, within 15 minutes. The login is valid for 30 days.
    """
    url = await hive.dashboard.login_link()
    output.show({"url": url}, [output.paint(url, "")])


COMMANDS = [login_link]
