"""Commands about containers: rebuild, update, pause, resume, limits, tombstones, purge, cancel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import record_id
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import amount, iso_time, local_time, size
from hivectl.output.terminal import Cell, Output, Row, confirm
from hivectl.session import follow, hive_command, job_options

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

_agent = click.argument("name", shell_complete=complete_agents)
_one_or_all = click.argument("name", required=False, shell_complete=complete_agents)


@click.command()
@_agent
@job_options
@hive_command
async def rebuild(hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float) -> None:
    """Put right whatever on the host belongs to an agent.

    Says what that was. Of a healthy agent it changes nothing.
    """
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.start_job(name, "Rebuild"),
        f"rebuilding {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command()
@_agent
@job_options
@hive_command
async def update(hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float) -> None:
    """Bring an agent up to this version of Hyperhive.

    Restarts it if another version has made its container.
    """
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.start_job(name, "Update"),
        f"updating {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command("update-all")
@hive_command
async def update_all(hive: "Hive", output: Output) -> None:
    """Update every agent that needs it.

    One after the other, each as soon as no turn of it runs. The first failure ends that; it is
    told in your inbox.
    """
    names = await hive.lifecycle.update_all()
    text = f"one after the other, when they are at rest: {', '.join(names)}"
    output.show({"agents": names}, [text if names else "nothing is stale"])


def _everybody_or(command: str, member: str, done: str, help_text: str) -> click.Command:
    @click.command(command, help=help_text)
    @_one_or_all
    @click.option("--all", "everybody", is_flag=True, help="All agents that run.")
    @hive_command
    async def verb(hive: "Hive", output: Output, name: str | None, everybody: bool) -> None:
        if (name is None) is not everybody:
            raise CommandError(Exit.USAGE, "Name an agent, or say --all.")
        running = ("running", "paused")
        names = (
            [a.name for a in await hive.lifecycle.agents() if a.state in running]
            if not name
            else [name]
        )
        for one in names:
            await hive.lifecycle.call_agent(one, member)
        output.show(
            {"agents": names}, [f"{one}: {done}" for one in names] or ["no agent is running"]
        )

    return verb


pause = _everybody_or(
    "pause", "Pause", "paused", "Give an agent no processor time; nothing in it is lost."
)
resume = _everybody_or("resume", "Resume", "goes on", "Let a paused agent go on.")


@click.command()
@_agent
@click.argument("changes", nargs=-1, metavar="[RESOURCE=VALUE]...")
@hive_command
async def limits(hive: "Hive", output: Output, name: str, changes: Sequence[str]) -> None:
    """Show or change what an agent may use.

    With RESOURCE=VALUE it changes limits, at once and for good; without, it shows what the agent
    uses, too.

    \b
    RESOURCE is one of
      memory_high, memory_max  bytes, or 512M, 4G: slowed down there, killed there
      cpu_quota                percent of one processor
      cpu_weight, io_weight    1 to 10000, against other agents; 100 is average
      tasks_max                processes and threads
    VALUE may also be `max` for no limit, or `default` for what agent.toml or
    hyperhive.toml says.
    """
    agent = await hive.lifecycle.agent(name)
    if changes:
        await hive.lifecycle.set_resources(name, dict(_change(change) for change in changes))
        agent = await hive.lifecycle.agent(name)
    usage = await hive.lifecycle.usage(name)
    output.show(
        {"agent": name, "limits": agent.resources, "usage": usage},
        _limit_lines(agent.resources, usage, output),
    )


def _limit_lines(held: dict[str, int], usage: dict[str, int], output: Output) -> list[str]:
    rows: list[Row] = [[key, Cell(amount(key, held[key]), right=True)] for key in held]
    used: list[Row] = [[key, Cell(amount(key, usage[key]), right=True)] for key in usage]
    lines = output.table(["LIMIT", "VALUE"], rows) or ["no limits"]
    return [*lines, "", *(output.table(["USES", "NOW"], used) or ["it does not run"])]


def _change(typed: str) -> tuple[str, int | str]:
    key, sign, value = typed.partition("=")
    if not sign:
        raise CommandError(Exit.USAGE, f"{typed!r} is no change; write it as memory_max=4G.")
    unit = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}.get(value[-1:].upper())
    if unit and value[:-1].isdecimal():
        return key, int(value[:-1]) * unit
    return key, int(value) if value.isdecimal() else value


@click.command()
@hive_command
async def tombstones(hive: "Hive", output: Output) -> None:
    """Show what is kept of destroyed agents.

    `hivectl spawn NAME` takes it up again, `hivectl purge NAME` removes it for good.
    """
    found = await hive.lifecycle.tombstones()
    rows: list[Row] = [
        [name, local_time(destroyed), Cell(size(bytes_), right=True)]
        for name, bytes_, destroyed in found
    ]
    output.show(
        [
            {"name": name, "bytes": bytes_, "destroyed": iso_time(destroyed)}
            for name, bytes_, destroyed in found
        ],
        output.table(["NAME", "DESTROYED", "SIZE"], rows) or ["nothing is kept of anybody"],
    )


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@job_options
@hive_command
async def purge(
    hive: "Hive", output: Output, name: str, yes: bool, no_wait: bool, timeout: float
) -> None:
    """Remove for good what is kept of a destroyed agent."""
    if not yes:
        confirm(f"Remove all that is kept of {name}? It cannot be brought back.", "purge")
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.purge(name),
        f"purging {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


@click.command("cancel-job")
@click.argument("number", metavar="ID", type=record_id)
@hive_command
async def cancel_job(hive: "Hive", output: Output, number: int) -> None:
    """Undo a job: its agent becomes what it was.

    `hivectl status` and --no-wait show the ID of a job that still runs.
    """
    await hive.lifecycle.cancel_job(number)
    output.show({"job": number}, [f"job {number} is being undone"])


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
