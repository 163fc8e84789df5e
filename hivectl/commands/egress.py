"""Commands about the hosts that agents reach: egress, allow-egress, deny-egress."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_refused
from hivectl.arguments.types import host_and_port, number, past
from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import JOB_SECONDS, job_done
from hivectl.output import json_forms
from hivectl.output.formats import count, local_time, place, size
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.ledger import Egress

HTTPS = 443
"""The port of a host that is given without one, and of which no port waits for a decision."""
MAX_LISTED = 1000
"""The most hosts that the ledger lists at once."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_agents)
@click.option("--pending", is_flag=True, help="Only hosts that wait for your decision.")
@click.option("--since", type=past, metavar="TIME", help="Only hosts that were used since TIME.")
@click.option(
    "--limit",
    type=number(1, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Show the N that were used last, at most 1000.",
)
@hive_command
async def egress(
    hive: "Hive",
    output: Output,
    name: str | None,
    pending: bool,
    since: int | None,
    limit: int,
) -> None:
    """Show the hosts that agents reached or were refused.

    The host that was used last comes last. OK, NO and FAIL are the numbers of connections that
    were made, refused and not possible. The state is `pending` while a refused host waits for
    your decision. `*:0` has the sums of an agent's hosts beyond the 1000 that are kept. TIME is
    written as for `hivectl history`.
    """
    from wire.names import check_agent_name
    from wire.records.ledger import EgressFilter, EgressState

    if name is not None:
        check_agent_name(name)
    state = EgressState.PENDING if pending else None
    wanted = EgressFilter(agent=name, state=state, since=since)
    found = (await hive.ledger.list_egress(wanted, limit))[::-1]
    if not found:
        await hive.agents.expect(name)
    nothing = "no hosts wait for a decision" if pending else "no connections are recorded"
    output.show([json_forms.egress(e) for e in found], egress_table(found, output) or [nothing])


def egress_table(found: "Sequence[Egress]", output: Output) -> list[str]:
    """Return hosts as a table."""
    headers = ["LAST", "AGENT", "STATE", "OK", "NO", "FAIL", "SENT", "RECEIVED", "HOST"]
    rows: list[Row] = []
    for e in found:
        rows.append(
            [
                local_time(e.last),
                e.agent,
                state_cell("-" if e.state == "none" else e.state),
                Cell(count(e.allowed), right=True),
                Cell(count(e.refused), right=True),
                Cell(count(e.failed), right=True),
                Cell(size(e.sent), right=True),
                Cell(size(e.received), right=True),
                marked_place(e) if e.port else "other hosts",
            ]
        )
        if e.reason:
            rows.append([*[""] * (len(headers) - 1), f"  {one_line(e.reason)}"])
    return output.table(headers, rows, optional=("FAIL", "SENT", "RECEIVED"), whole=True)


def marked_place(entry: "Egress") -> str:
    """Return a host with its port, and a warning if it is an address that is not public."""
    from wire.addresses import warning

    leads_to = warning(entry.host)
    return f"{literal(place(entry.host, entry.port))}{leads_to and f' [{leads_to}]'}"


_agent = click.argument("name", shell_complete=complete_agents)
_host = click.argument(
    "host", metavar="HOST[:PORT]", type=host_and_port, shell_complete=complete_refused
)


@click.command("allow-egress")
@_agent
@_host
@click.option("--once", is_flag=True, help="Allow only the next connection.")
@click.option(
    "-m",
    "--message",
    "--reason",
    "reason",
    metavar="TEXT",
    default="",
    help="The reason, which `deploy-log` shows.",
)
@hive_command
async def allow_egress(
    hive: "Hive",
    output: Output,
    name: str,
    host: tuple[str, int | None],
    once: bool,
    reason: str,
) -> None:
    """Allow an agent to connect to a host.

    Adds HOST, with the port if you give one, to `egress` in the agent's agent.toml: a request in
    your name, which is approved and deployed at once, without a restart of the agent. HOST is
    a name, `*.NAME` for all names below one, `*`, or an address; without a port it is for the
    ports 80 and 443. The list has an effect with the network `gateway` only. With --once,
    agent.toml stays as it is, and the next connection is allowed: without a port, to the only port
    of the host that waits for your decision, or to 443.
    """
    from wire.names import check_agent_name
    from wire.records.approvals import NO_JOB

    check_agent_name(name)
    if once:
        await _decide(hive, output, name, host, "once")
        return
    named, port = host
    rule = named if port is None else place(named, port)
    why = reason or f"The operator allows {rule}."
    async with hive.jobs.watch() as ended:
        allowed = await hive.approvals.allow_egress(name, rule, why)
        deployed = allowed.job != NO_JOB
        if deployed:
            doing = f"request {allowed.request} allows {literal(rule)} to {name}; deploying it"
            await job_done(ended, allowed.job, lambda: output.progress(f"{doing} …"), JOB_SECONDS)
    what = f"request {allowed.request} allows {literal(rule)} to {name}"
    output.show(
        {"agent": name, "rule": rule, "request": allowed.request, "deployed": deployed},
        [
            f"{what}, and holds now"
            if deployed
            else f"{what} and waits: hivectl diff {allowed.request}"
        ],
    )
    if deployed:
        await _note_left(hive, output, name, named)


async def _note_left(hive: "Hive", output: Output, name: str, host: str) -> None:
    """Tell of ports of a host that still wait: a rule without a port is for 80 and 443."""
    from wire.errors import HiveError

    try:
        left = await _pending_ports(hive, name, host)
    except HiveError:
        return  # the rule holds all the same
    for port in left:
        command = f"hivectl allow-egress {name} {literal(place(host, port))}"
        output.note(f"Port {port} still waits for you: {command}")


@click.command("deny-egress")
@_agent
@_host
@hive_command
async def deny_egress(
    hive: "Hive", output: Output, name: str, host: tuple[str, int | None]
) -> None:
    """Deny an agent a host that was refused to it.

    The host is not offered to you again, until you decide otherwise. Without a port, this is for
    all ports of the host that wait for your decision, or for 443.
    """
    from wire.names import check_agent_name

    check_agent_name(name)
    await _decide(hive, output, name, host, "deny")


async def _decide(
    hive: "Hive", output: Output, name: str, host: tuple[str, int | None], decision: str
) -> None:
    """Decide about the ports of a host that are pending, or about one port."""
    from wire.records.ledger import EgressDecision

    named, port = host
    ports = [port] if port else await _pending_ports(hive, name, named) or [HTTPS]
    if decision == "once" and len(ports) > 1:
        # The agent may have asked for more of them since the operator has looked.
        listed = ", ".join(str(one) for one in ports)
        raise CommandError(
            Exit.USAGE,
            f"{name} asks for several ports of {literal(named)}: {listed}. Name one, such as "
            f"{literal(place(named, ports[0]))}.",
        )
    for one in ports:
        await hive.ledger.decide_egress(name, named, one, EgressDecision(decision))
    words = {"once": "is allowed once", "deny": "is denied"}[decision]
    output.show(
        [{"agent": name, "host": named, "port": p, "decision": decision} for p in ports],
        [f"{literal(place(named, p))} {words} to {name}" for p in ports],
    )


async def _pending_ports(hive: "Hive", name: str, host: str) -> list[int]:
    """Return the ports of a host that wait for a decision."""
    from wire.records.ledger import EgressFilter, EgressState

    wanted = EgressFilter(agent=name, state=EgressState.PENDING)
    found = await hive.ledger.list_egress(wanted, MAX_LISTED)
    return sorted(e.port for e in found if e.host == host)


COMMANDS = [egress, allow_egress, deny_egress]
