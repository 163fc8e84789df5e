"""Commands that steer an agent's session: cancel, compact, new-session, model, effort."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.output.terminal import Output
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.clients.lifecycle import AgentClient

_agent = click.argument("name", shell_complete=complete_agents)

EFFORTS = ("low", "medium", "high", "xhigh", "max")


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

    Prints the work that was cut off. The commands of the turn are ended, and the session is kept:
    the agent is idle, and its next message begins a new turn. The messages of the turn are done
    with, as cancelled; with --requeue they are queued again.
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
@click.option("--default", is_flag=True, help="Use the configured model again.")
@hive_command
async def model(hive: "Hive", output: Output, name: str, model: str | None, default: bool) -> None:
    """Show or change the model of an agent's turns.

    The change holds from the next turn on, and is kept by restarts and rebuilds.
    """
    if model is None and not default:
        agent = await hive.agents.get(name)
        output.show(
            {"agent": name, "model": agent.model}, [literal(agent.model) or "not known yet"]
        )
        return
    _only_one(model, default)
    await _order(hive, output, name, lambda agent: agent.set_model(model or ""))


@click.command()
@_agent
@click.argument("level", required=False, shell_complete=lambda *_: [*EFFORTS])
@click.option("--default", is_flag=True, help="Use the default level again.")
@hive_command
async def effort(hive: "Hive", output: Output, name: str, level: str | None, default: bool) -> None:
    """Show or change the level of effort of an agent's turns.

    LEVEL is low, medium, high, xhigh or max; not every model has each. The change holds from the
    next turn on, and is kept by restarts and rebuilds.
    """
    if level is None and not default:
        agent = await hive.agents.get(name)
        output.show({"agent": name, "effort": agent.effort}, [literal(agent.effort) or "default"])
        return
    _only_one(level, default)
    await _order(hive, output, name, lambda agent: agent.set_effort(level or ""))


@click.command("lift-limits")
@hive_command
async def lift_limits(hive: "Hive", output: Output) -> None:
    """Let agents that wait for the end of a usage limit go on.

    Use it when the limit was raised. If it still holds, the agents report it again, and wait again.
    """
    names = await hive.lifecycle.lift_limits()
    text = f"these agents go on: {', '.join(names)}" if names else "no agent waits for a limit"
    output.show({"agents": names}, [text])


def _only_one(value: str | None, default: bool) -> None:
    if value is not None and default:
        raise click.UsageError("Give either a value or --default, not both.")


COMMANDS = [cancel, compact, new_session, model, effort, lift_limits]
