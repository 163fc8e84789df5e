"""Commands that steer an agent's session: cancel, compact, new-session, model, effort."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.output import agent_status
from hivectl.output.terminal import Output
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient

_agent = click.argument("name", shell_complete=complete_agents)


def _levels() -> list[str]:
    from wire.steering import DEFAULT, EFFORTS

    return [*EFFORTS, DEFAULT]


async def _order(
    hive: "Hive", output: Output, name: str, method: Callable[["AgentClient"], Awaitable[str]]
) -> None:
    """Have the harness of an agent do something, and print its sentence."""
    text = await hive.agents.call(name, method)
    output.show({"agent": name, "text": text}, [f"{name}: {one_line(text) or 'done'}"])


@click.command()
@_agent
@click.option("--requeue", is_flag=True, help="Queue the messages of the turn again.")
@hive_command
async def cancel(hive: "Hive", output: Output, name: str, requeue: bool) -> None:
    """Interrupt the turn of an agent.

    Prints a description of the work that was cut off. The commands of the turn are killed, and the
    session is kept: the agent is idle, and its next message begins a new turn. The messages of the
    turn get the state `cancelled` and are not delivered again; with --requeue they are queued
    again.
    """
    from wire.records.lifecycle import CancelOptions

    await _order(hive, output, name, lambda agent: agent.cancel_turn(CancelOptions(requeue)))


@click.command()
@_agent
@hive_command
async def compact(hive: "Hive", output: Output, name: str) -> None:
    """Have an agent compact its context, now or after its turn."""
    await _order(hive, output, name, lambda agent: agent.compact())


@click.command("new-session")
@_agent
@hive_command
async def new_session(hive: "Hive", output: Output, name: str) -> None:
    """Have an agent begin a new session, now or after its turn.

    The agent forgets its conversation. Its files and its notes in /state are kept.
    """
    await _order(hive, output, name, lambda agent: agent.new_session())


@click.command()
@_agent
@click.argument("model", required=False)
@hive_command
async def model(hive: "Hive", output: Output, name: str, model: str | None) -> None:
    """Show or change the model of an agent's turns.

    Without MODEL, prints the requested model, and the model that answered last if it is another
    one. MODEL `default` is the configured one. The change applies from the next turn on, and
    survives restarts and rebuilds.
    """
    if model is None:
        agent = await hive.agents.get(name)
        shown = {"agent": name, "model": agent.model, "setting": agent.model_setting}
        output.show(shown, [agent_status.model_words(agent)])
        return
    await _order(hive, output, name, lambda agent: agent.set_model(model))


@click.command()
@_agent
@click.argument("level", required=False, shell_complete=lambda *_: _levels())
@hive_command
async def effort(hive: "Hive", output: Output, name: str, level: str | None) -> None:
    """Show or change the level of effort of an agent's turns.

    LEVEL is low, medium, high, xhigh or max; not every model has every level. LEVEL `default` ends
    your choice. The change applies from the next turn on, and survives restarts and rebuilds.
    """
    if level is None:
        agent = await hive.agents.get(name)
        shown = {"agent": name, "effort": agent.effort}
        output.show(shown, [agent_status.effort_words(agent)])
        return
    await _order(hive, output, name, lambda agent: agent.set_effort(level))


@click.command("lift-limits")
@hive_command
async def lift_limits(hive: "Hive", output: Output) -> None:
    """Have agents that wait for the end of a limit try again now.

    Use this command after the provider has raised a limit. If the limit still applies, the agents
    report it and wait again.
    """
    names = await hive.lifecycle.lift_limits()
    text = f"these agents go on: {', '.join(names)}" if names else "no agent waits for a limit"
    output.show({"agents": names}, [text])


COMMANDS = [cancel, compact, new_session, model, effort, lift_limits]
