"""Commands about agents: list, status, spawn, start, kill, restart, destroy."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.output import json_forms
from hivectl.output.formats import amount, local_time, money, size
from hivectl.output.terminal import Cell, Output, Row, confirm, state_cell
from hivectl.output.text import literal
from hivectl.session import follow, hive_command, job_options

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient
    from wire.records.lifecycle import AgentProperties, JobProperties, Network

_agent = click.argument("name", shell_complete=complete_agents)


@click.command("list")
@hive_command
async def list_agents(hive: "Hive", output: Output) -> None:
    """List all agents, their states, and their costs of today."""
    from hivectl.clients.costs import costs_today

    agents, costs = await asyncio.gather(hive.agents.all(), costs_today(hive.ledger))
    headers = ["NAME", "STATE", "SINCE", "TURN", "SINCE", "CONTEXT", "TODAY", "MODEL"]
    rows: list[Row] = [
        [
            a.name,
            state_cell(a.state),
            local_time(a.since),
            state_cell(a.turn_state),
            local_time(a.turn_since),
            Cell(str(a.context_tokens), right=True),
            Cell("-" if costs is None else money(costs.get(a.name, 0)), right=True),
            literal(a.model) or "-",
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

    Shows states, limits, disk space, network and version, and the ID of a job that is queued or
    running for the agent.
    """
    agent, job = await hive.agents.get(name), await hive.jobs.of(name)
    usage = await hive.agents.call(name, lambda client: client.get_usage())
    fields = json_forms.agent(agent)
    fields["job"] = {"id": job.id, "verb": job.verb} if job else None
    fields["disk"] = usage.disk
    output.show(fields, _description(agent, usage.disk, job, output))


def _description(
    agent: "AgentProperties", disk: int | None, job: "JobProperties | None", output: Output
) -> list[str]:
    def state(name: str) -> str:
        return output.paint(name, state_cell(name).colour)

    fields = {
        "state": f"{state(agent.state)} since {local_time(agent.since)}",
        **(
            {"job": f"{job.id}, {job.verb}; `hivectl cancel-job {job.id}` cancels it"}
            if job
            else {}
        ),
        "turn": f"{state(agent.turn_state)} since {local_time(agent.turn_since)}",
        "at boot": "starts" if agent.enabled else "stays off",
        "model": literal(agent.model) or "-",
        "context": f"{agent.context_tokens} tokens",
        "logged in": "yes" if agent.logged_in else "no",
        "deployed": output.paint(agent.deployed_commit[:12] or "nothing yet", ""),
        "image": "the host" if agent.image == "/" else literal(agent.image),
        "machine": output.paint(agent.machine, ""),
        "unit": output.paint(agent.unit, ""),
        "uids": f"{agent.uid_base} to {agent.uid_base + 65535}",
        "port": _port(agent),
        "limits": _limits(json_forms.amounts(agent.resources)) or "none",
        "disk": output.paint(*_disk(disk, agent.resources.disk_max)),
        "network": output.paint(*_network(agent.network)),
        "version": f"outdated; `hivectl update {agent.name}` updates it"
        if agent.stale
        else "current",
        "invocation": output.paint(agent.invocation_id or "-", ""),
    }
    lines = [output.paint(agent.name, "bold")]
    return lines + [f"  {key + ':':<12}{value}" for key, value in fields.items()]


def _limits(held: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {amount(key, value)}" for key, value in held.items())


def _disk(used: int | None, limit: int | None) -> tuple[str, str]:
    """Return the measured disk space as text, and the text's colour: red near the limit."""
    if used is None:
        return "not measured yet", ""
    text = f"{size(used)} of {size(limit)}" if limit else f"{size(used)}, no limit"
    return text, "red" if limit and used >= 0.8 * limit else ""


def _network(network: "Network") -> tuple[str, str]:
    """Return the addresses that a container may connect to as text, and the text's colour."""
    if not network.deny:
        return "all addresses", ""
    denied, allowed = ", ".join(network.deny), ", ".join(network.allow) or "none"
    text = f"{denied}; exceptions: {allowed}"
    if network.name_servers:
        text += f"; on port 53 only: {', '.join(network.name_servers)}"
    if network.filtered:
        return f"denied: {text}", ""
    return f"NOT FILTERED: this host cannot filter addresses; to be denied: {text}", "red"


def _port(agent: "AgentProperties") -> str:
    if not agent.port_shared_with:
        return str(agent.port or "-")
    others = ", ".join(agent.port_shared_with)
    return f"{agent.port}, also used by {others}; `hivectl rebuild` gives it another"


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
kill = _verb(
    "kill",
    lambda agent: agent.stop(),
    "stopping",
    "Stop an agent, and do not start it at boot.\n\n"
    "Its data and messages are kept. `hivectl start` starts it again; a message does not.",
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


COMMANDS = [list_agents, status, spawn, start, kill, restart, destroy]
