"""The command that lists the agents: list."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from hivectl.output import json_forms
from hivectl.output.agent_status import context_cell, doing
from hivectl.output.formats import age, ago, money
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import literal
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.lifecycle import AgentProperties

MOST_UNREAD: Final = 1000
"""The most unread messages of which the senders are counted."""


@dataclass(frozen=True)
class _Listed:
    """An agent with the figures that other services have; None where one does not answer."""

    agent: "AgentProperties"
    cost: int | None
    queued: int | None
    unread: int | None

    @property
    def row(self) -> Row:
        """The fields of the table."""
        a = self.agent
        return [
            a.name,
            state_cell(a.state),
            ago(a.since),
            state_cell(a.turn_state),
            Cell(age(a.turn_since), right=True),
            _number(self.queued),
            _number(self.unread),
            context_cell(a),
            Cell("-" if self.cost is None else money(self.cost), right=True),
            literal(a.model) or "-",
            doing(a),
        ]


_HEADERS: Final = [
    *("NAME", "STATE", "SINCE", "TURN", "AGE", "QUEUE", "UNREAD", "CONTEXT", "TODAY", "MODEL"),
    "NOW",
]
_OPTIONAL: Final = ("MODEL", "CONTEXT", "UNREAD", "SINCE", "AGE", "TODAY", "QUEUE")
"""The fields that are left out of a narrow terminal, the least important first."""

_KEYS: Final[dict[str, Callable[[_Listed], Any]]] = {
    "name": lambda one: one.agent.name,
    "state": lambda one: (one.agent.state, one.agent.name),
    "since": lambda one: -one.agent.since,
    "turn": lambda one: (one.agent.turn_state, -one.agent.turn_since),
    "queue": lambda one: -(one.queued or 0),
    "unread": lambda one: -(one.unread or 0),
    "context": lambda one: -one.agent.context_tokens,
    "cost": lambda one: -(one.cost or 0),
}
"""The keys of --sort: the newest and the greatest come first."""


@click.command("list")
@click.option(
    "--sort",
    type=click.Choice(list(_KEYS)),
    default="name",
    metavar="KEY",
    help=f"Sort by KEY: {', '.join(_KEYS)}; the newest and the greatest first.",
)
@click.option("-r", "--reverse", is_flag=True, help="Sort the other way round.")
@hive_command
async def list_agents(hive: "Hive", output: Output, sort: str, reverse: bool) -> None:
    """List all agents, their states, and their costs of today.

    QUEUE is the number of messages that wait for the agent or are in its turn, UNREAD the number of
    messages from it in your inbox. The column NOW shows the tool that runs, or the reason why the
    agent does nothing, such as a limit and its end, an error, or a crash loop: three crashes, none
    of them ten minutes after the one before. A narrow terminal shows fewer columns.
    """
    found = sorted(await _listed(hive), key=_KEYS[sort], reverse=reverse)
    nothing = ["no agents yet; `hivectl spawn NAME` creates one"]
    known = [
        json_forms.agent(one.agent)
        | {
            "cost_today": None if one.cost is None else one.cost / 1_000_000,
            "queued": one.queued,
            "unread": one.unread,
        }
        for one in found
    ]
    table = output.table(_HEADERS, [one.row for one in found], optional=_OPTIONAL)
    output.show(known, table or nothing)


async def _listed(hive: "Hive") -> list[_Listed]:
    from hivectl.clients.costs import costs_today

    agents, costs, queues = await asyncio.gather(
        hive.agents.all(), costs_today(hive.ledger), _queues(hive)
    )
    queued, unread = queues or (None, None)
    return [
        _Listed(
            agent,
            None if costs is None else costs.get(agent.name, 0),
            None if queued is None else queued[agent.name],
            None if unread is None else unread[agent.name],
        )
        for agent in agents
    ]


async def _queues(hive: "Hive") -> "tuple[Counter[str], Counter[str]] | None":
    """Return the messages in each inbox, and those to the operator by sender; None: not known."""
    from wire.errors import HiveError
    from wire.names import OPERATOR
    from wire.records.broker import MessageFilter, MessageState

    queued: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    try:
        for one in await hive.broker.count_messages():
            if one.state is not MessageState.DEAD:
                queued[one.recipient] += one.number
        if queued[OPERATOR]:
            wanted = MessageFilter(recipient=OPERATOR, state=MessageState.QUEUED)
            found = await hive.broker.list_messages(wanted, MOST_UNREAD)
            unread.update(message.sender for message in found)
    except HiveError:
        return None
    return queued, unread


def _number(number: int | None) -> Cell:
    return Cell("-" if number is None else str(number), right=True)


COMMANDS = [list_agents]
