"""The journal of an agent for an operator who may not read it: lifecycle reads it."""

import asyncio
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from hivectl.exit_codes import CommandError, Exit
from hivectl.output.formats import moment_of
from hivectl.output.terminal import Output
from hivectl.output.text import safe

if TYPE_CHECKING:
    from hivectl.host.journal import Wanted
    from wire.records.lifecycle import LogEntry

NOTE = (
    "Only the host's lines are shown: the journal inside of the container is open to root and to "
    "members of the group systemd-journal."
)


def show(agent: str, wanted: "Wanted", lines: int | None) -> int:
    """Show the host's lines about an agent, as far as lifecycle can select them.

    Raises:
        HiveError: there is no such agent, or lifecycle does not answer.
        CommandError: lifecycle cannot select these lines.
    """
    return asyncio.run(_show(agent, wanted, lines))


async def _show(agent: str, wanted: "Wanted", lines: int | None) -> int:
    from hivectl.clients.hive import Hive
    from hivectl.clients.log_lines import LogLines
    from hivectl.host.journal import units_of
    from wire.records.lifecycle import LogFilter

    output = Output()
    async with Hive.connect() as hive:
        known = await hive.agents.get(agent)
        units = units_of(agent, known.unit)[wanted.part] if wanted.part else [None]
        if not units:
            raise CommandError(
                Exit.DENIED,
                f"Lifecycle does not select the part {wanted.part}: run this command as root or as "
                "a member of the group systemd-journal.",
            )
        chosen = LogFilter(
            agent=agent, unit=units[0], priority=wanted.priority, text=wanted.pattern or ""
        )
        logs = LogLines(hive.lifecycle, chosen)
        output.note(NOTE)
        found = await logs.newest(lines, wanted.since)
        for line in found:
            output.show_next(line._asdict(), [shown(line)])
        if wanted.follow:
            async with aclosing(logs.follow(found[-1].cursor if found else "")) as coming:
                async for line in coming:
                    output.show_next(line._asdict(), [shown(line)])
        sys.stdout.flush()
    return Exit.OK


def shown(line: "LogEntry") -> str:
    """Return a line as journalctl prints it."""
    moment = moment_of(line.time / 1e6)
    when = f"{moment:%b %d %H:%M:%S}" if moment else "-"
    process = f"[{line.pid}]" if line.pid else ""
    return safe(f"{when} {line.identifier}{process}: {line.message}")
