"""The command that shows the events of an agent: watch."""

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number
from hivectl.exit_codes import CommandError, Exit
from hivectl.output.terminal import Output
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from hivectl.clients.agent_events import AgentEvents
    from hivectl.clients.hive import Hive
    from hivectl.output.event_lines import EventLines
    from hivectl.output.json_forms import Json
    from wire.agent_web.client import JsonObject

LINES = 40
OVER = -1
"""Stands for the number of an event after which there are none."""


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Continue with new events as they happen; with --turn, until its end.",
)
@click.option(
    "-n",
    "--events",
    "most",
    type=number(least=0, most=20_000),
    metavar="N",
    help=f"Show the newest N events.  [default: {LINES}; all with --turn]",
)
@click.option(
    "--turn",
    type=number(least=1),
    metavar="N",
    help="Only events of this turn; `hivectl turns` lists the turns.",
)
@click.option("--full", is_flag=True, help="Show complete texts.")
@hive_command
async def watch(
    hive: "Hive",
    output: Output,
    name: str,
    follow: bool,
    most: int | None,
    turn: int | None,
    full: bool,
) -> None:
    """Show the events of an agent, as its harness records them.

    Shows the messages that woke the agent, its text, the tools that it calls with their results,
    and its state. Long texts are folded to their first lines. The events of the last days are in
    the agent's container, so the agent must run; with --follow, the command waits for its start.
    With --json, each event is one line.
    """
    from hivectl.output.event_lines import EventLines
    from wire.errors import Unavailable

    await hive.agents.get(name)
    events, lines = hive.events(name), EventLines(output, full=full)
    after: int | None = None
    try:
        after = await _show_past(events, output, lines, most, turn)
    except Unavailable:
        if not follow:
            raise
    if follow and after != OVER:
        await _follow(events, output, lines, after, turn)


async def _show_past(
    events: "AgentEvents",
    output: Output,
    lines: "EventLines",
    most: int | None,
    turn: int | None,
) -> int:
    """Show the newest events; return the number of the last one, or OVER if the turn has ended.

    Args:
        events: the events of the agent.
        output: where they are shown.
        lines: their form.
        most: the number of events; None: all of the turn.
        turn: the turn, or None for all events.
    """
    state = await events.state()
    last: JsonObject = {}
    async with aclosing(_past(events, most, turn)) as past:
        async for page in past:
            for data in page:
                show_event(output, lines, data)
                last = data
    if turn is None:
        if not output.as_json:
            output.show_next(None, lines.state(state))
    elif not last and turn != state.turn:
        raise CommandError(Exit.NOT_FOUND, "No events of this turn are kept, or it has not begun.")
    elif last.get("type") == "turn-end":
        return OVER
    seq = last.get("seq")
    return seq if isinstance(seq, int) else state.last_seq


async def _past(
    events: "AgentEvents", most: int | None, turn: int | None
) -> "AsyncGenerator[list[JsonObject], None]":
    """Yield the pages of the events that are there."""
    if most is None and turn is not None:
        async with aclosing(events.of_turn(turn)) as pages:
            async for page in pages:
                yield page
    else:
        yield await events.newest(LINES if most is None else most, turn)


async def _follow(
    events: "AgentEvents",
    output: Output,
    lines: "EventLines",
    after: int | None,
    turn: int | None,
) -> None:
    """Show new events and holds, until the end of the turn if one is given."""
    holding = asyncio.create_task(_note_holds(events, output))
    try:
        await _follow_events(events, output, lines, after, turn)
    finally:
        holding.cancel()
        await asyncio.wait([holding])


async def _note_holds(events: "AgentEvents", output: Output) -> None:
    from wire.errors import HiveError

    # The events end with a sentence when the hive is lost.
    with suppress(HiveError):
        async with aclosing(events.holds()) as holds:
            async for reason in holds:
                output.note(f"The agent is {held_words(reason)}.")


def held_words(reason: str) -> str:
    """Return the state of a held agent in words; the reason may have those of an agent."""
    return f"held: {one_line(reason)}" if reason else "held"


async def _follow_events(
    events: "AgentEvents",
    output: Output,
    lines: "EventLines",
    after: int | None,
    turn: int | None,
) -> None:
    async for kind, data in events.follow(after, output.note):
        if turn not in (None, data.get("turn")):
            continue
        if kind == "event":
            show_event(output, lines, data)
            if turn is not None and data.get("type") == "turn-end":
                return
        else:
            show_transient(output, lines, kind, data)


def show_event(output: Output, lines: "EventLines", data: "Mapping[str, Json]") -> None:
    """Print an event that a harness sent; one without a number is left out."""
    from pydantic import ValidationError

    from wire.agent_web.records import Event
    from wire.agent_web.values import is_deep

    try:
        event = Event.model_validate(data)
    except ValidationError:
        return
    shown = [] if output.as_json else lines.event(event)
    if not shown and not output.as_json:
        return
    if is_deep(data):
        data = {"seq": event.seq, "left_out": "too deep"}
    output.show_next(data, shown)


def show_transient(
    output: Output, lines: "EventLines", kind: str, data: "Mapping[str, Json]"
) -> None:
    """Print the new lines of a text that is being written, for people."""
    from wire.agent_web.records import Partial

    if output.as_json or kind != "partial":
        return
    partial = Partial.model_validate(data)
    if shown := lines.partial(partial.kind, partial.text):
        output.show_next(None, shown)


COMMANDS = [watch]
