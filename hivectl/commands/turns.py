"""Commands about past turns: turns, cost."""

from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import number, past, record_id
from hivectl.output import json_forms
from hivectl.output.formats import count, money, short_time, span
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.ledger import Cost, Turn

KEYS = ["day", "model", "agent"]


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.option("--since", type=past, metavar="TIME", help="Only turns that started since TIME.")
@click.option("--until", type=past, metavar="TIME", help="Only turns that started before TIME.")
@click.option(
    "--limit",
    type=number(1, 1000),
    default=20,
    show_default=True,
    metavar="N",
    help="Show the newest N, at most 1000.",
)
@click.option(
    "--before",
    type=record_id,
    metavar="ID",
    help="Only turns recorded before the one with this `id` in the JSON.",
)
@hive_command
async def turns(
    hive: "Hive",
    output: Output,
    name: str,
    since: int | None,
    until: int | None,
    limit: int,
    before: int | None,
) -> None:
    """Show the turns of an agent, newest last.

    Shows when each turn started, how long it took, how it ended, the tokens that the model read
    (with those from its cache) and wrote, the cost in US dollars, the calls of tools, and how many
    of them were denied. Turns are
    kept for `ledger.keep_days` days, also of an agent that is stopped or destroyed. The figures are
    those that the agent's harness reports; `hivectl usage` has those of the gateway. TIME is
    written as for `hivectl history`.
    """
    from wire.names import check_agent_name
    from wire.records.ledger import TurnFilter

    check_agent_name(name)
    wanted = TurnFilter(agent=name, since=since, until=until, before=before)
    found = (await hive.ledger.list_turns(wanted, limit))[::-1]
    if not found:
        await hive.agents.expect_or_kept(name)
    nothing = ["no turns are recorded"]
    output.show([json_forms.turn(t) for t in found], _turn_table(found, output) or nothing)


def _turn_table(found: "list[Turn]", output: Output) -> list[str]:
    headers = [
        "TURN",
        "STARTED",
        "TOOK",
        "OUTCOME",
        "READ",
        "WROTE",
        "COST",
        "TOOLS",
        "DENY",
        "MODEL",
    ]
    rows: list[Row] = []
    for t in found:
        rows.append(
            [
                Cell(str(t.turn), right=True),
                short_time(t.started),
                Cell(span(t.duration), right=True),
                state_cell(t.outcome),
                Cell(count(t.input_tokens), right=True),
                Cell(count(t.output_tokens), right=True),
                Cell(money(t.cost), right=True),
                Cell(count(t.tool_calls), right=True),
                Cell(count(t.denied), "yellow" if t.denied else "", right=True),
                literal(t.model) or "-",
            ]
        )
        if t.error:
            rows.append([*[""] * (len(headers) - 1), one_line(t.error)])
    return output.table(headers, rows)


@click.command()
@click.argument("name", required=False, shell_complete=complete_agents)
@click.option(
    "--by",
    type=click.Choice(KEYS),
    help="Sum up by day (of the host), model or agent.  [default: agent; day with NAME]",
)
@click.option("--since", type=past, metavar="TIME", help="Only turns and requests since TIME.")
@click.option("--until", type=past, metavar="TIME", help="Only turns and requests before TIME.")
@hive_command
async def cost(
    hive: "Hive",
    output: Output,
    name: str | None,
    by: str | None,
    since: int | None,
    until: int | None,
) -> None:
    """Show the costs of all agents, or of one.

    Without --since, these are the costs of all recorded requests, which are kept for
    `ledger.keep_days` days. Tokens and costs are those of the requests to the model API, as
    `hivectl usage` lists them; the harnesses of the agents report the turns and their length.
    Costs are in US dollars, at the prices of the ledger. A cost with `?` is that of the dearest
    model, because the price of the model is not known. The bill of the API is authoritative. With
    `--by model`, the models of an agent beyond the 20 that cost most are summed up as `other`. TIME
    is written as for `hivectl history`.
    """
    from wire.names import check_agent_name
    from wire.records.ledger import CostFilter, CostKey

    if name is not None:
        check_agent_name(name)
    key = CostKey(by or ("agent" if name is None else "day"))
    found = await hive.ledger.costs(CostFilter(by=key, agent=name, since=since, until=until))
    if not found and name is not None:
        await hive.agents.expect_or_kept(name)
    nothing = ["nothing is recorded"]
    output.show(
        [json_forms.cost(c, key) for c in found], _cost_table(found, key, output) or nothing
    )


def _cost_table(found: "list[Cost]", key: str, output: Output) -> list[str]:
    headers = ["TURNS", "TOOK", "READ", "CACHED", "WROTE", "COST", key.upper()]
    rows: list[Row] = [_cost_row(c, literal(c.key) or "-") for c in found]
    if len(found) > 1:
        first = found[0]
        total = first._replace(
            **{
                field: sum(getattr(c, field) for c in found)
                for field in first._fields
                if field not in ("key", "unknown_price")
            },
            unknown_price=any(c.unknown_price for c in found),
        )
        rows.append(_cost_row(total, Cell("total", "bold")))
    return output.table(headers, rows)


def _cost_row(c: "Cost", key: Cell | str) -> Row:
    numbers = [
        str(c.turns),
        span(c.duration),
        count(c.input_tokens),
        count(c.cache_read_tokens),
        count(c.output_tokens),
        f"{money(c.cost)}{'?' if c.unknown_price else ''}",
    ]
    return [*(Cell(text, right=True) for text in numbers), key]


COMMANDS = [turns, cost]
