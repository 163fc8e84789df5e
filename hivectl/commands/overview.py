"""The command that shows the whole hive, or agents: status."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number
from hivectl.exit_codes import Exit
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from hivectl.output.agent_status import AgentStatus

LAST_LINES = 10
"""The lines of its log that `status` shows of an agent."""


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_agents)
@click.option(
    "-n",
    "--lines",
    type=number(0, 200),
    default=LAST_LINES,
    show_default=True,
    metavar="N",
    help="Show the newest N lines of the log of an agent, at most 200.",
)
@hive_command
async def status(hive: "Hive", output: Output, names: Sequence[str], lines: int) -> int:
    """Show the state of the hive, or of agents.

    Without NAME, shows which services run, how many agents are in which state, the requests,
    questions and messages that wait for you, the problems, and the command to run next. With
    NAME, which may be a pattern such as 'b*', shows everything about an agent: its state and the
    reason, its turn, limits, budgets, disk space, network and version, and the last lines of the
    host's log about it.

    The exit code is 9 if there is a problem, such as a failed service or agent, a missing login or
    a used-up budget. It is 5 if the hive is stopped.
    """
    if not names:
        return await _of_hive(hive, output)
    agents = await hive.agents.select(names)
    shown = await asyncio.gather(*(_of_agent(hive, agent.name, lines) for agent in agents))
    values = [one.value() for one in shown]
    text = [line for one in shown for line in ["", *one.lines(output)]][1:]
    is_one = len(names) == 1 and agents[0].name == names[0]
    output.show(values[0] if is_one else values, text)
    return Exit.DEGRADED if any(one.is_in_trouble for one in shown) else Exit.OK


async def _of_hive(hive: "Hive", output: Output) -> int:
    from hivectl.clients.overview import look
    from hivectl.output.overview import Summary

    summary = Summary(await look(hive))
    output.show(summary.value(), summary.lines(output))
    return {"running": Exit.OK, "degraded": Exit.DEGRADED, "stopped": Exit.UNAVAILABLE}[
        summary.state
    ]


async def _of_agent(hive: "Hive", name: str, lines: int) -> "AgentStatus":
    from hivectl.clients.costs import limited_budgets
    from hivectl.output.agent_status import AgentStatus

    async def logged() -> list[str]:
        if not lines:
            return []
        return await hive.agents.call(name, lambda client: client.get_logs(lines))

    agent, job, usage, budgets, log, deployed = await asyncio.gather(
        hive.agents.get(name),
        hive.jobs.of(name),
        hive.agents.call(name, lambda client: client.get_usage()),
        limited_budgets(hive.ledger, name),
        logged(),
        hive.agents.deployed(name),
    )
    return AgentStatus(agent, job, usage, budgets, log, deployed)


COMMANDS = [status]
