"""The command that checks the hive and its host: doctor."""

import asyncio
import os
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Final

import click

from hivectl.exit_codes import Exit
from hivectl.host import checks
from hivectl.host.checks import Check, Verdict
from hivectl.output.agent_status import crash_loop, remedy
from hivectl.output.terminal import Output
from hivectl.output.text import one_line, safe, wrap
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from hivectl.clients.units import ServiceUnit
    from wire.records.lifecycle import AgentProperties

MARKS: Final = {
    Verdict.GOOD: ("ok", "green"),
    Verdict.BAD: ("BAD", "red"),
    Verdict.WARNING: ("note", "yellow"),
    Verdict.SKIPPED: ("-", "dim"),
}
SECONDS: Final = 5.0
"""The seconds for which one service is asked."""
_STOPPED: Final = Check(
    "services", Verdict.BAD, "the hive does not run", "systemctl start hive.target"
)


@click.command()
@hive_command
async def doctor(hive: "Hive", output: Output) -> int:
    """Check the hive and its host, and name remedies.

    Checks the services and their stores, the port of the dashboard, the credentials, the agents,
    their versions and the filter of addresses, and on the host the limits, inotify, the disk and
    the clock. Only root can check the credentials. A `note` may be intended.

    The exit code is 9 if something is wrong.
    """
    services = await _services(hive)
    # All that a stopped hive lacks has one remedy.
    runs = services != [_STOPPED]
    found = [
        *services,
        *(await _stores(hive) if runs else ()),
        *_credentials(),
        *(await _agents(hive) if runs else ()),
        checks.controllers(),
        checks.disk(),
        checks.clock(await _newest(hive)),
    ]
    output.show([one._asdict() for one in found], _lines(found, output))
    return Exit.DEGRADED if any(one.verdict is Verdict.BAD for one in found) else Exit.OK


def _lines(found: Iterable[Check], output: Output) -> list[str]:
    lines = []
    for one in found:
        mark, colour = MARKS[one.verdict]
        lead = f"{mark:>4}  {one.name:<12}"
        room = None if output.columns is None else max(output.columns - len(lead), 20)
        what = safe(one.what)
        first, *more = [what] if room is None else wrap(what, room)
        lines.append(f"{output.paint(f'{mark:>4}', colour)}{lead[4:]}{first}")
        lines += [" " * len(lead) + line for line in more]
        if one.remedy:
            lines += output.indented(f"      remedy: {one.remedy}")
    return lines


async def _services(hive: "Hive") -> list[Check]:
    from wire.errors import HiveError

    try:
        units = await hive.units.services()
    except HiveError as error:
        return [Check("services", Verdict.SKIPPED, str(error))]
    missing = [unit for unit in units if unit.is_missing]
    if missing and not any(unit.runs for unit in units):
        return [_STOPPED]
    bad = await asyncio.gather(*map(_service, missing))
    running = sum(unit.runs for unit in units)
    return bad or [Check("services", Verdict.GOOD, f"{running} run")]


async def _service(unit: "ServiceUnit") -> Check:
    """Return the reason why a service does not run, as far as it is known."""
    from hivectl.host import listeners
    from wire import names

    state = f"{unit.name} is {unit.state}"
    # The dashboard cannot start without its socket, and knows nothing of the other program.
    if unit.name == names.SERVICE_UNITS[names.DASHBOARD]:
        found = await listeners.occupant(listeners.DASHBOARD)
        if found:
            return Check("services", Verdict.BAD, f"{state}: {found.what}", found.remedy)
    return Check(
        "services",
        Verdict.BAD,
        f"{state}{f': {one_line(unit.says)}' if unit.says else ''}",
        f"`systemctl status {unit.name}` shows more; then `systemctl restart {unit.name}`",
    )


async def _stores(hive: "Hive") -> list[Check]:
    """Check that each service answers from its store."""
    from wire.records.approvals import ApprovalFilter

    asked: dict[str, Awaitable[object]] = {
        "broker": hive.broker.count_messages(),
        "ledger": hive.ledger.list_budgets(),
        "approvals": hive.approvals.list_approvals(ApprovalFilter(limit=1)),
        "lifecycle": hive.lifecycle.list_tombstones(),
        "dashboard": hive.dashboard.list_sessions(),
    }
    found = await asyncio.gather(*(_answers(name, answer) for name, answer in asked.items()))
    bad = [check for check in found if check is not None]
    return bad or [Check("stores", Verdict.GOOD, f"{', '.join(asked)} answer from their stores")]


async def _answers(name: str, answer: Awaitable[object]) -> Check | None:
    from wire.errors import AccessDenied, HiveError

    try:
        async with asyncio.timeout(SECONDS):
            await answer
    except AccessDenied:
        raise
    except TimeoutError:
        said = f"it does not answer within {SECONDS:g} s"
    except HiveError as error:
        said = str(error)
    else:
        return None
    return Check(
        "stores", Verdict.BAD, f"{name}: {said}", f"`systemctl status hive-{name}` shows more"
    )


def _credentials() -> list[Check]:
    from hivectl.commands.credentials import places, stops
    from hivectl.host import credentials as files

    if os.geteuid() != 0:
        return [Check("credentials", Verdict.SKIPPED, "only root can look at them")]
    stored = places().stored()
    program = files.encrypter()
    bad = [one for one in stored if not files.can_decrypt(one, program)]
    if bad:
        return [
            Check(
                "credentials",
                Verdict.BAD,
                f"this host cannot decrypt {one.file}, so {stops(one)}",
                "store it again with `hivectl credentials set`",
            )
            for one in bad
        ]
    if not any(one.purpose in files.MODEL for one in stored):
        return [
            Check(
                "credentials",
                Verdict.WARNING,
                "none are stored for the model: agents need logins of their own",
                "`hivectl credentials set` stores an API key or a token; `hivectl login NAME` logs "
                "an agent in",
            )
        ]
    return [Check("credentials", Verdict.GOOD, f"{len(stored)} stored")]


async def _agents(hive: "Hive") -> list[Check]:
    from wire.errors import HiveError

    try:
        agents = await hive.agents.all()
    except HiveError as error:
        return [Check("agents", Verdict.SKIPPED, str(error))]
    running = sum(agent.state in ("running", "paused", "starting") for agent in agents)
    bad = [_trouble(agent) for agent in agents if _is_bad(agent)]
    return [
        *(bad or [Check("agents", Verdict.GOOD, f"{running} of {len(agents)} run")]),
        *_versions(agents),
        *_filter(agents),
        checks.inotify(running),
    ]


def _is_bad(agent: "AgentProperties") -> bool:
    return agent.state == "failed" or agent.turn_state in ("error", "harness-away", "needs-login")


def _trouble(agent: "AgentProperties") -> Check:
    state = agent.state if agent.state == "failed" else agent.turn_state
    why = crash_loop(agent) or one_line(agent.turn_reason)
    return Check(
        "agents",
        Verdict.BAD,
        f"{agent.name}: {state}{f', {why}' if why else ''}",
        remedy(agent) or f"`hivectl status {agent.name}` shows more",
    )


def _versions(agents: "list[AgentProperties]") -> list[Check]:
    stale = [agent.name for agent in agents if agent.stale]
    if not stale:
        return [Check("versions", Verdict.GOOD, "all agents have this version of Hyperhive")]
    what = f"another version of Hyperhive made {', '.join(stale)}"
    return [Check("versions", Verdict.WARNING, what, "hivectl update-all")]


def _filter(agents: "list[AgentProperties]") -> list[Check]:
    on_host = [agent for agent in agents if agent.network.mode == "host" and agent.network.deny]
    unfiltered = [agent.name for agent in on_host if not agent.network.filtered]
    if unfiltered:
        return [
            Check(
                "filter",
                Verdict.BAD,
                f"this host does not filter addresses, so {', '.join(unfiltered)} can reach all of "
                "them",
                'network = "gateway" in [lifecycle] or in their agent.toml gives them a network of '
                "their own; the filter needs cgroup v2 and BPF (`systemctl status hive-canfilter`)",
            )
        ]
    if not on_host:
        return [Check("filter", Verdict.GOOD, "no agent has the network of the host")]
    return [Check("filter", Verdict.GOOD, "the host filters the addresses of agents")]


async def _newest(hive: "Hive") -> int | None:
    """Return the time of the newest message; None if it is not known."""
    from wire.errors import HiveError
    from wire.records.broker import MessageFilter

    try:
        found = await hive.broker.within(SECONDS).list_messages(MessageFilter(), 1)
    except HiveError:
        return None
    return found[-1].queued if found else None


COMMANDS = [doctor]
