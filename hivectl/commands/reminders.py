"""The command about reminders: remind."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_reminders
from hivectl.arguments.types import duration, future, record_id
from hivectl.commands.messages import typed_text
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.broker import Reminder

_LISTED = 1000


@click.command()
@click.argument("words", metavar="[TEXT]", nargs=-1)
@click.option(
    "--at",
    "due",
    type=future,
    metavar="TIME",
    help="The time at which it is due: 10:00, tomorrow, 2026-01-31.",
)
@click.option(
    "--in",
    "after",
    type=duration(days=365),
    metavar="DURATION",
    help="The duration after which it is due: 90s, 10m, 2d; at most 365d.",
)
@click.option(
    "--list", "listing", is_flag=True, help="List the pending reminders of the whole hive."
)
@click.option(
    "--all", "everything", is_flag=True, help="List pending, delivered and cancelled reminders."
)
@click.option(
    "--cancel",
    "cancelled",
    type=record_id,
    metavar="ID",
    shell_complete=complete_reminders,
    help="Cancel a pending reminder.",
)
@hive_command
async def remind(
    hive: "Hive",
    output: Output,
    words: Sequence[str],
    due: int | None,
    after: int | None,
    listing: bool,
    everything: bool,
    cancelled: int | None,
) -> None:
    """Send yourself a reminder, or list or cancel reminders.

    TEXT, whose words need no quotes, arrives in your inbox when it is due; `-` reads it from
    standard input.

    TIME follows the host's clock; 10:00 means the next 10:00. DURATION (90s, 10m, 1h30m, 2d, 1w)
    is elapsed time: setting the clock does not change when the reminder is due.
    """
    text = " ".join(words) if words else None
    chosen = [text is not None, listing or everything, cancelled is not None]
    if chosen.count(True) != 1:
        raise CommandError(Exit.USAGE, "Give exactly one of TEXT, --list and --cancel ID.")
    if (due is None) == (after is None) and text is not None:
        raise CommandError(
            Exit.USAGE, "Say when the reminder is due: give either --at TIME or --in DURATION."
        )
    if (due, after) != (None, None) and text is None:
        raise CommandError(Exit.USAGE, "--at and --in need TEXT, the text of the reminder.")
    if text is not None:
        await _remind(hive, output, typed_text(words), due, after)
    elif cancelled is not None:
        await hive.broker.cancel_reminder(cancelled)
        output.show({"id": cancelled, "state": "cancelled"}, [f"reminder {cancelled} cancelled"])
    else:
        await _list(hive, output, everything=everything)


async def _remind(
    hive: "Hive", output: Output, text: str, due: int | None, after: int | None
) -> None:
    from wire.records.broker import ReminderFilter, RemindOptions

    number = await hive.broker.remind(due or 0, text, RemindOptions(after_s=after))
    # The due time that the broker computed; this process could read another clock.
    wanted = ReminderFilter(after=number - 1, before=number + 1)
    for stored in await hive.broker.list_reminders(wanted, 1):
        when = local_time(stored.due)
        output.show(json_forms.reminder(stored), [f"reminder {number} is due at {when}"])
        return
    raise CommandError(Exit.NOT_FOUND, f"Reminder {number} no longer exists.")


async def _list(hive: "Hive", output: Output, *, everything: bool) -> None:
    from wire.records.broker import ReminderFilter, ReminderState

    wanted = ReminderFilter(state=None if everything else ReminderState.PENDING)
    found = await hive.broker.list_reminders(wanted, _LISTED)
    nothing = "no reminders yet" if everything else "no pending reminders"
    output.show([json_forms.reminder(r) for r in found], _table(found, output) or [nothing])


def _table(reminders: "list[Reminder]", output: Output) -> list[str]:
    headers = ["ID", "DUE", "OF", "STATE", "TEXT"]
    rows: list[Row] = [
        [
            Cell(str(r.id), right=True),
            local_time(r.due),
            r.owner,
            state_cell(r.state),
            one_line(
                " ".join(part for part in (r.body, r.file and f"[{literal(r.file)}]") if part)
            ),
        ]
        for r in reminders
    ]
    return output.table(headers, rows)


COMMANDS = [remind]
