"""The command that lists what is open: threads."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Cell, Output, Row
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.broker import Thread

_TITLES = {
    "approval": "waiting for your approval",
    "question": "open questions",
    "dead-letter": "dead letters",
    "message": "messages not yet acknowledged",
    "reminder": "reminders",
    "unavailable": "could not be queried",
}
"""The title of each kind of thread; the kinds that wait for a person come first."""


@click.command()
@hive_command
async def threads(hive: "Hive", output: Output) -> None:
    """List everything that is open in the hive.

    Lists the requests, questions, messages, dead letters and reminders that somebody still waits
    for, at most the newest 200 of each kind.
    """
    found = await hive.broker.open_threads()
    output.show(
        [json_forms.thread(t) for t in found], list(_groups(found, output)) or ["nothing is open"]
    )


def _groups(threads: "list[Thread]", output: Output) -> Iterator[str]:
    """Yield a table for each kind."""
    kinds = [k for k in _TITLES if any(t.kind == k for t in threads)]
    kinds += sorted({t.kind for t in threads} - set(kinds))
    headers = ["ID", "SINCE", "FROM", "TO", "DUE", "TEXT"]
    for kind in kinds:
        if kind != kinds[0]:
            yield ""
        yield output.paint(_TITLES.get(kind, kind), "bold")
        rows = [_row(one) for one in sorted(threads, key=_age) if one.kind == kind]
        for line in output.table(headers, rows, most=2, indent=2):
            yield f"  {line}"


def _age(thread: "Thread") -> tuple[int, int]:
    return thread.since, thread.id


def _row(thread: "Thread") -> Row:
    return [
        Cell(str(thread.id) if thread.id else "-", right=True),
        local_time(thread.since),
        thread.sender or "-",
        thread.recipient or "-",
        local_time(thread.due),
        one_line(thread.text),
    ]


COMMANDS = [threads]
