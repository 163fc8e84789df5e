"""Commands about agents: list, status, spawn, start, stop, kill, restart, destroy."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.output import json_forms
from hivectl.output.agent_status import context_cell, description, doing, in_trouble, remedy
from hivectl.output.formats import age, local_time, money
from hivectl.output.terminal import Cell, Output, Row, confirm, state_cell
from hivectl.output.text import literal
from hivectl.session import follow, hive_command, job_options

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient

LAST_LINES = 10
"""The lines of its log that `status` shows of an agent that does not work."""

_agent = click.argument("name", shell_complete=complete_agents)


@click.command("list")
@hive_command
async def list_agents(hive: "Hive", output: Output) -> None:
    """List all agents, their states, and their costs of today.

    The column NOW shows the tool that runs, or the reason why the agent does nothing, such as a
    limit and its end, an error, or a crash loop: three crashes, none of them ten minutes after the
    one before.
    """
    from hivectl.clients.costs import costs_today

    agents, costs = await asyncio.gather(hive.agents.all(), costs_today(hive.ledger))
    headers = ["NAME", "STATE", "SINCE", "TURN", "AGE", "CONTEXT", "TODAY", "MODEL", "NOW"]
    rows: list[Row] = [
        [
            a.name,
            state_cell(a.state),
            local_time(a.since),
            state_cell(a.turn_state),
            Cell(age(a.turn_since), right=True),
            context_cell(a),
            Cell("-" if costs is None else money(costs.get(a.name, 0)), right=True),
            literal(a.model) or "-",
            doing(a),
        ]
        for a in agents
    ]
    nothing = ["no agents yet; `hivectl spawn NAME` creates one"]
    known = [
        json_forms.agent(a)
        | {"cost_today": None if costs is None else costs.get(a.name, 0) / 1_000_000}
        for a in agents
    ]
    output.show(known, output.table(headers, rows) or nothing)


@click.command()
@_agent
@hive_command
async def status(hive: "Hive", output: Output, name: str) -> None:
    """Show everything about one agent.

    Shows states, limits, budgets, disk space, network and version, and the ID of a job that is
    queued or running for the agent. For an agent that does not work: the reason, the command that
    helps, and the last lines of the host's log about it.
    """
    from hivectl.clients.costs import limited_budgets

    agent, job = await hive.agents.get(name), await hive.jobs.of(name)
    usage = await hive.agents.call(name, lambda client: client.get_usage())
    lines: list[str] = []
    if in_trouble(agent):
        lines = await hive.agents.call(name, lambda client: client.get_logs(LAST_LINES))
    budgets = await limited_budgets(hive.ledger, name)
    fields = json_forms.agent(agent)
    fields["budgets"] = None if budgets is None else [json_forms.budget(b) for b in budgets]
    fields["job"] = {"id": job.id, "verb": job.verb} if job else None
    fields["disk"] = usage.disk
    fields["help"] = remedy(agent) or None
    fields["last_lines"] = lines
    output.show(fields, description(agent, usage.disk, job, budgets or [], lines, output))


@click.command()
@click.argument("name")
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
    @click.command(command, help=help_text)
    @_agent
    @job_options
    @hive_command
    async def verb(hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float) -> None:
        await follow(
            hive,
            output,
            lambda: hive.agents.call(name, start_job),
            f"{doing} {name}",
            no_wait=no_wait,
            timeout=timeout,
        )

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
    "It does not start at boot. Use this when `hivectl stop` takes too long; it also hurries a "
    "stop that is under way. What its programs have not written yet is lost. Its data and messages "
    "are kept.",
)
restart = _verb(
    "restart", lambda agent: agent.restart(), "restarting", "Stop an agent and start it again."
)


@click.command()
@_agent
@click.option("--purge", is_flag=True, help="Also delete the agent's data; this cannot be undone.")
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
    """Destroy an agent, but keep its data.

    `hivectl spawn NAME` creates the agent again with its kept data. With --purge, the data are
    deleted as well.
    """
    if not yes:
        known = (await hive.agents.get(name)).name
        what = f"{known} and all its data" if purge else f"{known} (its data are kept)"
        confirm(f"Destroy {what}?", "destroy")
    await follow(
        hive,
        output,
        lambda: hive.lifecycle.destroy(name, purge),
        f"destroying {name}",
        no_wait=no_wait,
        timeout=timeout,
    )


COMMANDS = [list_agents, status, spawn, start, stop, kill, restart, destroy]
