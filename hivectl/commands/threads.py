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
    """Yield a table for each kind; the columns of all tables are aligned."""
    kinds = [k for k in _TITLES if any(t.kind == k for t in threads)]
    kinds += sorted({t.kind for t in threads} - set(kinds))
    ordered = [t for kind in kinds for t in sorted(threads, key=_age) if t.kind == kind]
    headers = ["ID", "SINCE", "FROM", "TO", "DUE", "TEXT"]
    head, *lines = output.table(headers, [_row(t) for t in ordered]) or [""]
    known = ""
    for thread, line in zip(ordered, lines, strict=True):
        if thread.kind != known:
            if known:
                yield ""
            known = thread.kind
            yield output.paint(_TITLES.get(known, known), "bold")
            yield f"  {head}"
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
