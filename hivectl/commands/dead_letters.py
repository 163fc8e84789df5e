"""Commands about dead letters: dead-letters, requeue, drop."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_dead_letters
from hivectl.arguments.types import record_id
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import short_time
from hivectl.output.listing import message_lines
from hivectl.output.terminal import Cell, Output, Row, confirm
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

_LISTED = 1000

_ids = click.argument(
    "numbers",
    metavar="ID...",
    nargs=-1,
    required=True,
    type=record_id,
    shell_complete=complete_dead_letters,
)


@click.command("dead-letters")
@click.option("--full", is_flag=True, help="Show complete messages.")
@hive_command
async def dead_letters(hive: "Hive", output: Output, full: bool) -> None:
    """List messages that could not be delivered.

    A message that was not acknowledged becomes a dead letter after `broker.max_redeliveries`
    redeliveries, or, if the recipient's agent.toml sets `max_attempts`, after that many deliveries.
    You and the sender get a message about it. REASON is in the words of the recipient. `hivectl
    requeue` queues a dead letter again; `hivectl drop` gives it up.
    """
    from wire.records.broker import MessageFilter, MessageState

    found = await hive.broker.list_messages(MessageFilter(state=MessageState.DEAD), _LISTED)
    headers = ["ID", "TIME", "FROM", "TO", "KIND", "TRIES", "REASON", "BODY"]
    rows: list[Row] = [
        [
            Cell(str(m.id), right=True),
            short_time(m.queued),
            m.sender,
            m.recipient,
            m.kind,
            Cell(str(m.redeliveries), right=True),
            one_line(m.reason) or "-",
            one_line(m.body),
        ]
        for m in found
    ]
    lines = (
        message_lines(found, output)
        if full
        else output.table(headers, rows, optional=("KIND", "TRIES", "TO"))
    )
    output.show([json_forms.message(m) for m in found], lines or ["no dead letters"])


@click.command()
@_ids
@hive_command
async def requeue(hive: "Hive", output: Output, numbers: Sequence[int]) -> None:
    """Queue dead letters again.

    Their redeliveries are counted from zero again.
    """
    await hive.broker.requeue(list(numbers))
    output.show(
        [{"id": number, "state": "queued"} for number in numbers],
        [f"message {number} queued again" for number in numbers],
    )


@click.command()
@_ids
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@hive_command
async def drop(hive: "Hive", output: Output, numbers: Sequence[int], yes: bool) -> None:
    """Give dead letters up: they are not delivered again.

    They remain in the history.
    """
    if not yes:
        await _expect(hive, numbers)
        what = f"dead letter {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} dead letters"
        confirm(f"Drop {what}? Dropped messages are never delivered.", "drop")
    await hive.broker.drop(list(numbers))
    output.show(
        [{"id": number, "state": "dropped"} for number in numbers],
        [f"message {number} dropped" for number in numbers],
    )


async def _expect(hive: "Hive", numbers: Sequence[int]) -> None:
    """Check, before a question is asked, that there are such dead letters.

    Raises:
        CommandError: one is not a dead letter.
    """
    from wire.records.broker import MessageFilter, MessageState

    for number in numbers:
        wanted = MessageFilter(after=number - 1 or None, before=number + 1)
        found = await hive.broker.list_messages(wanted, 1)
        if not found or found[0].state is not MessageState.DEAD:
            raise CommandError(
                Exit.NOT_FOUND,
                f"Message {number} is not a dead letter; `hivectl dead-letters` lists them.",
            )


COMMANDS = [dead_letters, requeue, drop]
