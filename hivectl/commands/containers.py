"""Commands about containers: rebuild, update, pause, resume, limits, tombstones, purge, cancel."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import (
    complete_agents,
    complete_jobs,
    complete_kept,
    complete_limits,
)
from hivectl.arguments.hints import hint
from hivectl.arguments.types import record_id
from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import follow, follow_each, job_options
from hivectl.output import json_forms
from hivectl.output.agent_status import not_enforced
from hivectl.output.formats import amount, local_time, size
from hivectl.output.terminal import Cell, Output, Row, confirm
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient
    from wire.records.lifecycle import ResourceChanges

_agent = click.argument("name", shell_complete=complete_agents)
_agents = click.argument(
    "names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_agents
)
_some_or_all = click.argument(
    "names", metavar="[NAME]...", nargs=-1, shell_complete=complete_agents
)


@click.command()
@_agent
@job_options
@hive_command
async def rebuild(hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float) -> None:
    """Repair an agent's files, also those of Claude Code.

    Checks its units and files on the host, and prints each change. An agent that works is left
    unchanged. One that does not is started again: Claude Code then begins with new files, and the
    old ones are kept in /root/.claude/before-rebuild-TIME. The login, the session and /state are
    kept.
    """
    await follow(
        hive,
        output,
        lambda: hive.agents.call(name, lambda agent: agent.rebuild()),
        f"rebuilding {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command()
@_agents
@job_options
@hive_command
async def update(
    hive: "Hive", output: Output, names: Sequence[str], no_wait: bool, timeout: float
) -> None:
    """Update an agent to this version of Hyperhive.

    If another version made the agent's container, the agent is restarted at once, even during a
    turn. `hivectl update-all` waits for the end of the turn. NAME may be a pattern such as 'b*'.
    """
    await follow_each(
        *(hive, output, names, lambda agent: agent.update(), "updating"),
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command("update-all")
@hive_command
async def update_all(hive: "Hive", output: Output) -> None:
    """Update all agents that another version of Hyperhive made.

    Agents are updated one after the other, each after its turn has ended. The command prints
    their names and does not wait. The first failure stops the updates and is reported in your
    inbox.
    """
    names = await hive.lifecycle.update_all()
    text = f"updating one after the other, each when it is idle: {', '.join(names)}"
    output.show({"agents": names}, [text if names else "all agents are up to date"])


def _everybody_or(
    command: str,
    method: Callable[["AgentClient"], Awaitable[None]],
    state: str,
    done: str,
    help_text: str,
) -> click.Command:
    """Return a command for agents that are named, or for all in a state."""

    @click.command(command, help=help_text)
    @_some_or_all
    @click.option(
        "--all", "everybody", is_flag=True, help=f"{command.capitalize()} all {state} agents."
    )
    @hive_command
    async def verb(hive: "Hive", output: Output, names: Sequence[str], everybody: bool) -> None:
        if bool(names) is everybody:
            raise CommandError(Exit.USAGE, "Give either NAME or --all.")
        found = await (hive.agents.select(names) if names else hive.agents.all())
        chosen = [agent.name for agent in found if names or agent.state == state]
        for one in chosen:
            await hive.agents.call(one, method)
        output.done(
            {"agents": chosen}, [f"{one}: {done}" for one in chosen] or [f"no agent is {state}"]
        )

    return verb


pause = _everybody_or(
    "pause",
    lambda agent: agent.pause(),
    "running",
    "paused",
    "Pause an agent: it gets no processor time.\n\n"
    "Give either NAME, which may be a pattern such as 'b*', or --all. `hivectl resume` lets the "
    "processes continue.",
)
resume = _everybody_or(
    "resume",
    lambda agent: agent.resume(),
    "paused",
    "resumed",
    "Resume a paused agent.\n\nGive either NAME, which may be a pattern such as 'b*', or --all.",
)


@click.command()
@_agent
@click.argument("changes", nargs=-1, metavar="[RESOURCE=VALUE]...", shell_complete=complete_limits)
@hive_command
async def limits(hive: "Hive", output: Output, name: str, changes: Sequence[str]) -> None:
    """Show or change the resource limits of an agent.

    Without RESOURCE=VALUE, shows the limits, and what the agent uses now. With RESOURCE=VALUE,
    sets limits at once and permanently.

    \b
    RESOURCE is one of:
      memory_high  bytes, or a size such as 512M or 4G; slowed down above it
      memory_max   bytes, or a size such as 512M or 4G; killed above it
      cpu_quota    percent of one processor; 200 is two processors
      cpu_weight   share against other agents, 1 to 10000; 100 is average
      io_weight    share against other agents, 1 to 10000; 100 is average
      tasks_max    number of processes and threads, at least 64
      disk_max     bytes, or a size such as 16G; stopped above it
    VALUE can also be `max` for no limit, or `default` for the limit that
    agent.toml or hyperhive.toml sets.
    """
    agent = await hive.agents.get(name)
    if changes:
        wanted = _wanted(changes)
        await hive.agents.call(name, lambda client: client.set_resources(wanted))
        agent = await hive.agents.get(name)
    held = json_forms.amounts(agent.resources)
    usage = json_forms.amounts(await hive.agents.call(name, lambda client: client.get_usage()))
    output.show({"agent": name, "limits": held, "usage": usage}, _limit_lines(held, usage, output))


def _limit_lines(held: dict[str, int], usage: dict[str, int], output: Output) -> list[str]:
    rows: list[Row] = [
        [key, Cell(amount(key, value), right=True), not_enforced(key).strip()]
        for key, value in held.items()
    ]
    used: list[Row] = [[key, Cell(amount(key, usage[key]), right=True)] for key in usage]
    lines = output.table(["LIMIT", "VALUE", ""], rows) or ["no limits"]
    return [*lines, "", *(output.table(["USES", "NOW"], used) or ["not running"])]


def _wanted(changes: Sequence[str]) -> "ResourceChanges":
    from wire.records.lifecycle import ResourceChanges

    wanted = dict(_change(change) for change in changes)
    for resource in wanted:
        if resource not in ResourceChanges._fields:
            known = ", ".join(ResourceChanges._fields)
            raise CommandError(Exit.USAGE, f"{resource!r} is not a limit. Limits are: {known}.")
    return ResourceChanges(**wanted)


def _change(typed: str) -> tuple[str, int | str]:
    key, sign, value = typed.partition("=")
    if not sign:
        raise CommandError(
            Exit.USAGE,
            f"{typed!r} is not a valid change. Write RESOURCE=VALUE, such as memory_max=4G.",
        )
    unit = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}.get(value[-1:].upper())
    if unit and value[:-1].isdecimal():
        return key, int(value[:-1]) * unit
    return key, int(value) if value.isdecimal() else value


@click.command()
@hive_command
async def tombstones(hive: "Hive", output: Output) -> None:
    """List destroyed agents whose data are kept.

    `hivectl spawn NAME` creates the agent again with its data; `hivectl purge NAME` deletes the
    data.
    """
    found = await hive.lifecycle.list_tombstones()
    rows: list[Row] = [
        [t.name, local_time(t.destroyed), Cell(size(t.size), right=True)] for t in found
    ]
    output.show(
        [json_forms.tombstone(t) for t in found],
        output.table(["NAME", "DESTROYED", "SIZE"], rows) or ["no destroyed agent has kept data"],
    )


@click.command()
@click.argument("name", shell_complete=complete_kept)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@job_options
@hive_command
async def purge(
    hive: "Hive", output: Output, name: str, yes: bool, no_wait: bool, timeout: float
) -> None:
    """Delete the kept data of a destroyed agent."""
    kept = [one.name for one in await hive.lifecycle.list_tombstones()]
    if name not in kept:
        raise CommandError(
            Exit.NOT_FOUND,
            f"No data of a destroyed agent {name!r} are kept; `hivectl tombstones` lists such "
            f"agents.{hint(name, kept)}",
        )
    if not yes:
        confirm(f"Delete all kept data of {name}? This cannot be undone.", "purge")
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.purge_tombstone(name),
        f"purging {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command("cancel-job")
@click.argument("number", metavar="ID", type=record_id, shell_complete=complete_jobs)
@hive_command
async def cancel_job(hive: "Hive", output: Output, number: int) -> None:
    """Cancel a job, and undo the steps that it has done.

    A job that has removed a part of the agent cannot be cancelled.
    `hivectl status NAME` and --no-wait show the ID of a job.
    """
    await hive.jobs.cancel(number)
    output.show({"job": number}, [f"job {number} is being cancelled"])


COMMANDS = [
    rebuild,
    update,
    update_all,
    pause,
    resume,
    limits,
    tombstones,
    purge,
    cancel_job,
]
