"""Commands about held agents: hold, unhold, holds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Output, Row
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.argument("reason", default="")
@hive_command
async def hold(hive: "Hive", output: Output, name: str, reason: str) -> None:
    """Hold an agent: it begins no further turns.

    Messages to a held agent wait in its inbox, except your urgent ones (`hivectl send --urgent`).
    A turn that runs goes on; `hivectl cancel` ends that turn. REASON is one line, which `hivectl
    holds` shows.
    """
    await hive.broker.hold(name, reason)
    output.show({"agent": name, "held": True}, [f"{name} is held"])


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_agents)
@hive_command
async def unhold(hive: "Hive", output: Output, names: Sequence[str]) -> None:
    """End the hold of agents: they get the messages that wait.

    The hive itself holds agents that write to each other again and again, and asks you: the
    answer `let them go on` ends their holds.
    """
    for name in names:
        await hive.broker.unhold(name)
    output.show(
        [{"agent": name, "held": False} for name in names],
        [f"{name} is not held any more" for name in names],
    )


@click.command()
@hive_command
async def holds(hive: "Hive", output: Output) -> None:
    """List the held agents."""
    found = await hive.broker.list_holds()
    rows: list[Row] = [
        [hold.agent, hold.kind, local_time(hold.since), one_line(hold.text)] for hold in found
    ]
    lines = output.table(["AGENT", "KIND", "SINCE", "REASON"], rows, whole=True)
    output.show([json_forms.hold(hold) for hold in found], lines or ["no agent is held"])


COMMANDS = [hold, unhold, holds]
