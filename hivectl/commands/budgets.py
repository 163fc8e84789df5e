"""Commands about the costs of requests and their limits: budget, usage."""

from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import dollars, number, past, record_id, tokens
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import count, money, short_time, span
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import literal
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.ledger import Budget, BudgetKind, Request

_DOLLARS = "The most dollars of {}, or `none`."
_TOKENS = "The most tokens of {}, such as 500k or 2M, or `none`."


KEYS = ["day", "model", "agent", "credential"]


@click.command()
@click.argument("name", required=False, shell_complete=complete_agents)
@click.option("--hive", "of_hive", is_flag=True, help="The budget of the whole hive.")
@click.option(
    "--credential",
    metavar="CREDENTIAL",
    help="The budget of a credential: `default`, or `agent:NAME`.",
)
@click.option("--day", type=dollars, metavar="DOLLARS", help=_DOLLARS.format("a day"))
@click.option("--week", type=dollars, metavar="DOLLARS", help=_DOLLARS.format("a week"))
@click.option("--total", type=dollars, metavar="DOLLARS", help=_DOLLARS.format("all time"))
@click.option("--day-tokens", type=tokens, metavar="N", help=_TOKENS.format("a day"))
@click.option("--week-tokens", type=tokens, metavar="N", help=_TOKENS.format("a week"))
@click.option("--total-tokens", type=tokens, metavar="N", help=_TOKENS.format("all time"))
@click.option("--reset", is_flag=True, help="Drop the limits that you have set before.")
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Then show each change until Ctrl-C; with --json, one object a line.",
)
@hive_command
async def budget(
    hive: "Hive",
    output: Output,
    name: str | None,
    of_hive: bool,
    credential: str | None,
    day: int | None,
    week: int | None,
    total: int | None,
    day_tokens: int | None,
    week_tokens: int | None,
    total_tokens: int | None,
    reset: bool,
    follow: bool,
) -> None:
    """Show budgets, or set the limits of one.

    Without arguments, the budgets that have a limit are shown. With NAME, --hive or --credential,
    those of one are shown. With limits, they are set, and hold from the next request on.

    Before a request to the model API leaves, the most that it may cost is reserved in the budgets
    of its agent, of its credential and of the hive. So a budget is exceeded by at most one
    response. At 80 % you are warned. At 100 % no request leaves any more, the agents are held, and
    you are asked whether they go on. Your limits take precedence over those of agent.toml and
    hyperhive.toml. A day, and a week from Monday, are those of the host's time zone. With --follow,
    each change is shown as it happens.
    """
    from wire.records.ledger import BudgetLimits

    chosen = _chosen(name, credential, of_hive=of_hive)
    wanted = BudgetLimits(day, week, total, day_tokens, week_tokens, total_tokens, reset)
    changes = wanted != BudgetLimits()
    if chosen is None and changes:
        raise CommandError(
            Exit.USAGE, "Name the budget to change: an agent, --hive or --credential."
        )
    if chosen is not None and changes:
        await hive.ledger.set_budget(*chosen, wanted)
    if name is not None and changes and not await hive.agents.is_known(name):
        output.note(f"There is no agent {name}; its budget holds once it is spawned.")
    if follow:
        await _follow(hive, output, chosen)
        return
    if chosen is None:
        found = [b for b in await hive.ledger.list_budgets() if b.limit or b.limit_tokens]
        nothing = "no budgets yet; `hivectl budget --hive --day 20` limits the hive"
    else:
        found = [b for b in await hive.ledger.list_budgets() if (b.kind, b.name) == chosen]
        nothing = "nothing was spent, and there is no limit"
        if not found:
            await hive.agents.expect(name)
    output.show([json_forms.budget(b) for b in found], _budget_table(found, output) or [nothing])
    for one in found:
        if one.question:
            what = f"the question about {_name(one)}, {one.period}"
            output.note(f"`hivectl answer {one.question}` answers {what}.")
    if any(one.unknown_price for one in found):
        output.note(
            "?: the price of a model is not known, and the dearest known price is counted. "
            "ledger.prices of hyperhive.toml sets prices."
        )


def _chosen(
    name: str | None, credential: str | None, *, of_hive: bool
) -> "tuple[BudgetKind, str] | None":
    """Return the budget that the arguments name; None for all.

    Raises:
        CommandError: they name several.
        InvalidArgument: the name of the agent is not valid.
    """
    from wire.names import check_agent_name
    from wire.records.ledger import BudgetKind

    if sum((name is not None, credential is not None, of_hive)) > 1:
        raise CommandError(Exit.USAGE, "Give one of NAME, --hive and --credential.")
    if name is not None:
        check_agent_name(name)
        return BudgetKind.AGENT, name
    if credential is not None:
        return BudgetKind.CREDENTIAL, credential
    return (BudgetKind.HIVE, "hive") if of_hive else None


async def _follow(hive: "Hive", output: Output, chosen: "tuple[BudgetKind, str] | None") -> None:
    """Show budgets, and each change of them, one a line."""
    from datetime import datetime

    async with aclosing(hive.budgets.follow()) as budgets:
        async for b in budgets:
            if (b.kind, b.name) != chosen if chosen else not (b.limit or b.limit_tokens):
                continue
            now = f"{datetime.now():%H:%M:%S}"
            output.show_next(json_forms.budget(b), [f"{now}  {_line(b, output)}"])


def _line(b: "Budget", output: Output) -> str:
    """Return a budget as one line."""
    parts = []
    if b.limit or not b.limit_tokens:
        parts.append(f"{money(b.spent)}{'?' if b.unknown_price else ''}")
        parts[-1] += f" of {money(b.limit)}" if b.limit else ""
    if b.limit_tokens:
        parts.append(f"{count(b.spent_tokens)} of {count(b.limit_tokens)} tokens")
    state = output.paint(_state(b), state_cell(_state(b)).colour)
    return f"{_name(b)}, {b.period}: {', '.join(parts)} ({_used(b)}), {state}"


def _state(b: "Budget") -> str:
    """Return the state: `lifted` while the operator lets the budget be exceeded."""
    return "lifted" if b.lifted_until else b.state


def _name(b: "Budget") -> str:
    return literal(b.name if b.kind == "agent" or b.name == b.kind else f"{b.kind} {b.name}")


def _budget_table(found: "list[Budget]", output: Output) -> list[str]:
    headers = ["SPENT", "LIMIT", "TOKENS", "LIMIT", "USED", "STATE", "PERIOD", "FOR"]
    rows: list[Row] = [
        [
            Cell(f"{money(b.spent)}{'?' if b.unknown_price else ''}", right=True),
            Cell(money(b.limit) if b.limit else "-", right=True),
            Cell(count(b.spent_tokens), right=True),
            Cell(count(b.limit_tokens) if b.limit_tokens else "-", right=True),
            Cell(_used(b), right=True),
            state_cell(_state(b)),
            b.period,
            _name(b),
        ]
        for b in found
    ]
    return output.table(headers, rows, whole=True)


def _used(b: "Budget") -> str:
    """Return the used part of the limit that is nearest, in percent."""
    parts = [
        100 * spent // limit
        for spent, limit in ((b.spent, b.limit), (b.spent_tokens, b.limit_tokens))
        if limit
    ]
    return f"{max(parts)} %" if parts else "-"


@click.command()
@click.argument("name", required=False, shell_complete=complete_agents)
@click.option(
    "--by",
    type=click.Choice(KEYS),
    help="Sum up by day (of the host), model, agent or credential, in place of a list.",
)
@click.option("--credential", metavar="CREDENTIAL", help="Only requests with this credential.")
@click.option("--since", type=past, metavar="TIME", help="Only requests that began since TIME.")
@click.option("--until", type=past, metavar="TIME", help="Only requests that began before TIME.")
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
    help="Only requests before the one with this `id` in the JSON.",
)
@click.option(
    "--limits",
    is_flag=True,
    help="Show the remaining limits of the provider for each credential, in place of a list.",
)
@hive_command
async def usage(
    hive: "Hive",
    output: Output,
    name: str | None,
    by: str | None,
    credential: str | None,
    since: int | None,
    until: int | None,
    limit: int,
    before: int | None,
    limits: bool,
) -> None:
    """Show the requests to the model API, newest last.

    Shows when each request ended, the tokens that the model read (with those of its cache) and
    wrote, the cost in US dollars, the time to the first byte and to the last, the status, the end
    of the request and the model. A cost with `?` is that of the dearest model, because the price
    of the model is not known. The gateways count the requests and their tokens. A turn of an agent
    with a login of its own is one request, as its harness reports it. `hivectl cost` sums the same
    requests up, beside the turns. With `--by model`, the models of an agent beyond the 20 that cost
    most are summed up as `other`. With `--limits`, shows the requests and tokens that the
    provider's last answer left to each credential, the time from which on there are more again, and
    the agents that share it. TIME is written as for `hivectl history`.
    """
    from wire.names import check_agent_name
    from wire.records.ledger import UsageFilter

    if name is not None:
        check_agent_name(name)
    if limits:
        if by is not None or since is not None or until is not None or before is not None:
            raise CommandError(
                Exit.USAGE, "--limits are those of now: give only NAME or --credential with it."
            )
        await _limits(hive, output, name, credential)
        return
    if by is not None:
        await _sum(hive, output, by, name, credential, since, until)
        return
    wanted = UsageFilter(agent=name, credential=credential, since=since, until=until, before=before)
    found = (await hive.ledger.list_usage(wanted, limit))[::-1]
    if not found:
        await hive.agents.expect(name)
    nothing = ["no requests are recorded"]
    output.show([json_forms.request(r) for r in found], _usage_table(found, output) or nothing)


async def _sum(
    hive: "Hive",
    output: Output,
    by: str,
    name: str | None,
    credential: str | None,
    since: int | None,
    until: int | None,
) -> None:
    from wire.records.ledger import UsageKey, UsageSumFilter

    wanted = UsageSumFilter(UsageKey(by), name, credential, since, until)
    found = await hive.ledger.sum_usage(wanted)
    if not found:
        await hive.agents.expect(name)
    headers = ["REQUESTS", "FAILED", "READ", "CACHED", "WROTE", "COST", by.upper()]
    rows: list[Row] = [
        [
            Cell(str(s.requests), right=True),
            Cell(str(s.failed), right=True),
            Cell(count(s.input_tokens + s.cache_read_tokens + s.cache_write_tokens), right=True),
            Cell(count(s.cache_read_tokens), right=True),
            Cell(count(s.output_tokens), right=True),
            Cell(f"{money(s.cost)}{'?' if s.unknown_price else ''}", right=True),
            literal(s.key) or "-",
        ]
        for s in found
    ]
    lines = output.table(headers, rows) or ["no requests are recorded"]
    output.show([json_forms.usage_sum(s, by) for s in found], lines)


async def _limits(hive: "Hive", output: Output, name: str | None, credential: str | None) -> None:
    from time import time

    now = int(time() * 1_000_000)
    found = [
        one
        for one in await hive.ledger.list_limits()
        if credential in (None, one.credential) and (name is None or name in one.agents)
    ]
    if not found:
        await hive.agents.expect(name)
    headers = ["CREDENTIAL", "REQUESTS", "TOKENS", "UNTIL", "STATE", "AGENTS"]
    rows: list[Row] = [
        [
            literal(one.credential),
            Cell(
                "-" if one.remaining_requests is None else str(one.remaining_requests), right=True
            ),
            Cell("-" if one.remaining_tokens is None else count(one.remaining_tokens), right=True),
            short_time(end) if (end := max(one.until, one.remaining_until)) > now else "-",
            state_cell("limited" if one.until > now else "ok"),
            ", ".join(one.agents) or "-",
        ]
        for one in found
    ]
    lines = output.table(headers, rows) or ["the provider has not reported any limits yet"]
    output.show([json_forms.provider_limit(one) for one in found], lines)


def _usage_table(found: "list[Request]", output: Output) -> list[str]:
    headers = ["ENDED", "AGENT", "READ", "WROTE", "COST", "FIRST", "TOOK", "HTTP", "END", "MODEL"]
    rows: list[Row] = [
        [
            short_time(r.ended),
            r.agent,
            Cell(count(r.input_tokens + r.cache_read_tokens + r.cache_write_tokens), right=True),
            Cell(count(r.output_tokens), right=True),
            Cell(f"{money(r.cost)}{'?' if r.unknown_price else ''}", right=True),
            Cell(span(r.first_byte) if r.first_byte else "-", right=True),
            Cell(span(r.last_byte) if r.last_byte else "-", right=True),
            Cell(str(r.status or "-"), right=True),
            state_cell(r.outcome),
            literal(r.model) or "-",
        ]
        for r in found
    ]
    return output.table(headers, rows)


COMMANDS = [budget, usage]
