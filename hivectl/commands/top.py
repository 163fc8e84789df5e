"""The command that shows what agents use, again and again: top."""

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from hivectl.arguments.types import number, seconds
from hivectl.output.agent_status import doing
from hivectl.output.formats import size
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.lifecycle import AgentProperties, Usage

DELAY: Final = 2.0
MOST_AT_ONCE: Final = 16
"""The calls that are made at once: the bus limits them."""
CLEAR: Final = "\x1b[H\x1b[J"
"""Moves the cursor to the first corner of the terminal, and clears all after it."""


class _Used(NamedTuple):
    """An agent, and what it uses."""

    agent: "AgentProperties"
    usage: "Usage"
    share: float | None
    """Processor time in per cent of one processor; None if it is not known yet."""

    @property
    def row(self) -> Row:
        """The fields of the table."""
        a, u = self.agent, self.usage
        return [
            a.name,
            state_cell(a.state),
            state_cell(a.turn_state),
            Cell("-" if self.share is None else f"{self.share:.1f}", right=True),
            Cell("-" if u.memory is None else size(u.memory), right=True),
            Cell("-" if u.tasks is None else str(u.tasks), right=True),
            Cell("-" if u.disk is None else size(u.disk), right=True),
            doing(a),
        ]

    @property
    def value(self) -> "dict[str, str | float | int | None]":
        """The JSON form."""
        return {
            "name": self.agent.name,
            "state": str(self.agent.state),
            "turn_state": str(self.agent.turn_state),
            "cpu_percent": self.share,
            "memory": self.usage.memory,
            "tasks": self.usage.tasks,
            "disk": self.usage.disk,
        }


@click.command()
@click.option(
    "-d",
    "--delay",
    type=seconds,
    default=DELAY,
    show_default=True,
    metavar="SECONDS",
    help="The time between two looks.",
)
@click.option(
    "-n",
    "--iterations",
    type=number(least=1),
    metavar="N",
    help="End after N looks.  [default: none in a terminal, otherwise 1]",
)
@hive_command
async def top(hive: "Hive", output: Output, delay: float, iterations: int | None) -> None:
    """Show what agents use, the busiest first, until Ctrl-C.

    CPU is the processor time between two looks, in per cent of one processor. A value that the host
    does not count is `-`. With --json, each look is one line.
    """
    live = output.columns is not None and not output.as_json
    rounds = iterations or (None if live else 1)
    before = await _times(hive)
    for _ in itertools.count() if rounds is None else range(rounds):
        # No event tells what a container uses: looking again is what this command is for.
        await asyncio.sleep(delay)
        now = await _times(hive)
        used = sorted(_used(before, now), key=lambda one: (-(one.share or 0), one.agent.name))
        before = now
        lines = output.table(_HEADERS, [one.row for one in used], optional=("DISK", "STATE"))
        shown = lines or ["no agents yet; `hivectl spawn NAME` creates one"]
        if live and _clears():
            print(CLEAR, end="")
            shown = shown[: max(os.get_terminal_size().lines - 1, 1)]
        output.show_next([one.value for one in used], shown)


_HEADERS: Final = ["NAME", "STATE", "TURN", "CPU", "MEMORY", "TASKS", "DISK", "NOW"]


class _Look(NamedTuple):
    """The figures of all agents at a time of the loop's clock."""

    at: float
    usages: "dict[str, tuple[AgentProperties, Usage]]"


async def _times(hive: "Hive") -> _Look:
    from wire.errors import HiveError
    from wire.records.lifecycle import Usage

    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def usage(name: str) -> Usage:
        async with room:
            try:
                return await hive.agents.call(name, lambda client: client.get_usage())
            except HiveError:
                return Usage()  # destroyed meanwhile

    agents = await hive.agents.all()
    found = await asyncio.gather(*(usage(agent.name) for agent in agents))
    at = asyncio.get_running_loop().time()
    return _Look(at, {a.name: (a, u) for a, u in zip(agents, found, strict=True)})


def _used(before: _Look, now: _Look) -> list[_Used]:
    used = []
    for name, (agent, usage) in now.usages.items():
        share = None
        if name in before.usages and usage.cpu is not None:
            earlier = before.usages[name][1].cpu
            # A container that was started again counts from zero.
            if earlier is not None and usage.cpu >= earlier:
                share = (usage.cpu - earlier) / max(now.at - before.at, 0.001) / 10_000
        used.append(_Used(agent, usage, share))
    return used


def _clears() -> bool:
    """Return whether the terminal can be cleared."""
    return os.environ.get("TERM", "dumb") != "dumb"


COMMANDS = [top]
