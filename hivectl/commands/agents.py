"""Commands about agents: spawn, start, stop, kill, restart, destroy."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_kept
from hivectl.jobs import PATTERNS, follow, follow_each, job_options
from hivectl.output.terminal import Output, confirm
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient

_agent = click.argument("name", shell_complete=complete_agents)
_agents = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_agents
)


@click.command()
@click.argument("name", shell_complete=complete_kept)
@job_options
@hive_command
async def spawn(hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float) -> None:
    """Create an agent and start it.

    If the data of a destroyed agent with this name were kept, the new agent takes them over.
    """
    from wire.records.lifecycle import SpawnOptions

    await follow(
        hive,
        output,
        lambda: hive.lifecycle.spawn(name, SpawnOptions()),
        f"spawning {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


def _verb(
    command: str,
    start_job: Callable[["AgentClient"], Awaitable[str]],
    doing: str,
    help_text: str,
) -> click.Command:
    @click.command(command, help=f"{help_text}\n\n{PATTERNS}")
    @_agents
    @job_options
    @hive_command
    async def verb(
        hive: "Hive", output: Output, names: Sequence[str], no_wait: bool, timeout: float
    ) -> None:
        await follow_each(hive, output, names, start_job, doing, no_wait=no_wait, timeout=timeout)

    return verb


start = _verb(
    "start", lambda agent: agent.start(), "starting", "Start an agent, now and at every boot."
)
stop = _verb(
    "stop",
    lambda agent: agent.stop(),
    "stopping",
    "Stop an agent in order, and do not start it at boot.\n\n"
    "Its turn is cut off, and its programs get a moment to end. Its data and messages are kept. "
    "`hivectl start` starts it again; a message does not.",
)
kill = _verb(
    "kill",
    lambda agent: agent.kill(),
    "killing",
    "Kill all processes of an agent, and stop it.\n\n"
    "It does not start at boot. Use this when `hivectl stop` takes too long; the command also "
    "speeds up a stop that is in progress. Data that its programs have not written yet are lost. "
    "Its files and messages are kept.",
)
restart = _verb(
    "restart", lambda agent: agent.restart(), "restarting", "Stop an agent and start it again."
)


@click.command()
@_agent
@click.option("--purge", is_flag=True, help="Delete all data of the agent; this cannot be undone.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@job_options
@hive_command
async def destroy(
    hive: "Hive",
    output: Output,
    name: str,
    purge: bool,
    yes: bool,
    no_wait: bool,
    timeout: float,
) -> None:
    """Destroy an agent, but keep /state, /work and its login.

    Its configuration is kept, too; its other directories (/root, /home, /opt, /srv and /var) are
    deleted. `hivectl spawn NAME` creates the agent again with the kept data. With --purge, these
    are deleted as well.
    """
    if not yes:
        known = (await hive.agents.get(name)).name
        kept = "only /state, /work, its login and its configuration are kept"
        what = f"{known} and all its data" if purge else f"{known} ({kept})"
        confirm(f"Destroy {what}?", "destroy")
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.destroy(name, purge),
        f"destroying {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


COMMANDS = [spawn, start, stop, kill, restart, destroy]
