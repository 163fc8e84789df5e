"""Commands about messages: send, inbox, history."""

import sys
from typing import TYPE_CHECKING, Any

import click

from hivectl.exits import CommandError, Exit
from hivectl.output import Cell, Output, Row
from hivectl.session import Number, complete_agents, hive_command
from hivectl.text import local_time, one_line

if TYPE_CHECKING:
    from hivectl.client import Hive
    from hivectl.records import Message

WAIT_SECONDS = 180.0


@click.command()
@click.argument("to", shell_complete=complete_agents)
@click.argument("body")
@click.option("--urgent", is_flag=True, help="Interrupt the recipient's turn.")
@click.option("--in-reply-to", type=Number(min=1), metavar="ID", help="What it answers.")
@click.option("--dedupe-key", metavar="KEY", help="A second send with this key sends nothing.")
@hive_command
async def send(
    hive: "Hive",
    output: Output,
    to: str,
    body: str,
    urgent: bool,
    in_reply_to: int | None,
    dedupe_key: str | None,
) -> None:
    """Send a message to an agent. BODY `-` reads it from standard input."""
    from wire.types import U64

    options: dict[str, Any] = {}
    if urgent:
        options["urgent"] = True
    if in_reply_to is not None:
        options["in_reply_to"] = U64(in_reply_to)
    if dedupe_key is not None:
        options["dedupe_key"] = dedupe_key
    number = await hive.send(to, _stdin() if body == "-" else body, options)
    output.show({"id": number}, [f"message {number} queued for {to}"])


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(Exit.USAGE, f"The body is not UTF-8: {error}.") from error


@click.command()
@click.option("--ack", "--acknowledge", is_flag=True, help="Mark what is shown as dealt with.")
@click.option("--all", "everything", is_flag=True, help="Show acknowledged messages, too.")
@click.option(
    "--wait",
    type=click.FloatRange(min=0, min_open=True),
    is_flag=False,
    flag_value=WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"If it is empty, wait for a message (at most SECONDS, else {WAIT_SECONDS:g}).",
)
@hive_command
async def inbox(
    hive: "Hive", output: Output, ack: bool, everything: bool, wait: float | None
) -> None:
    """Show unacknowledged messages to the operator.

    A message stays here until it is acknowledged, in the dashboard or with --ack.
    """
    if everything and wait is not None:
        raise CommandError(Exit.USAGE, "Choose one of --all and --wait.")
    if wait is None:
        messages = await hive.inbox(everything=everything)
    else:
        messages = await hive.await_inbox(wait)
    # Shown first, acknowledged then: a message is never gone before somebody saw it.
    output.show([m.as_json() for m in messages], _letters(messages, output) or ["inbox is empty"])
    unread = [m.id for m in messages if m.state != "acknowledged"]
    if ack and unread:
        await hive.acknowledge(unread)
    if wait is not None and not messages:
        raise CommandError(Exit.TIMEOUT, f"No message arrived within {wait:g} s.")


def _letters(messages: "list[Message]", output: Output) -> list[str]:
    lines: list[str] = []
    for message in messages:
        remarks = [message.kind] if message.kind != "message" else []
        remarks += ["urgent"] if message.urgent else []
        remarks += [f"answers {message.in_reply_to}"] if message.in_reply_to else []
        remarks += [f"redelivered {message.redeliveries} times"] if message.redeliveries else []
        remarks += ["acknowledged"] if message.state == "acknowledged" else []
        head = f"{message.id} from {message.sender} at {local_time(message.queued)}"
        lines.append(output.paint(", ".join([head, *remarks]), "bold"))
        lines += output.indented(message.body)
    return lines


@click.command()
@click.option("--to", metavar="NAME", shell_complete=complete_agents, help="Only to NAME.")
@click.option(
    "--from", "sender", metavar="NAME", shell_complete=complete_agents, help="Only from NAME."
)
@click.option("--kind", metavar="KIND", help="Only of this kind, such as container-crash.")
@click.option(
    "--limit",
    type=Number(1, 1000),
    default=50,
    show_default=True,
    help="How many, counted from the newest.",
)
@click.option("--before", type=Number(min=1), metavar="ID", help="Only older than ID.")
@click.option("--full", is_flag=True, help="Show whole bodies.")
@hive_command
async def history(
    hive: "Hive",
    output: Output,
    to: str | None,
    sender: str | None,
    kind: str | None,
    limit: int,
    before: int | None,
    full: bool,
) -> None:
    """Show the messages of the whole hive, oldest first."""
    from wire.types import U64

    given = {"to": to, "from": sender, "kind": kind, "before": before and U64(before)}
    wanted = {key: value for key, value in given.items() if value is not None}
    messages = await hive.messages(wanted, limit)
    lines = _chronicle(messages, output) if full else _table(messages, output)
    output.show([m.as_json() for m in messages], lines or ["no messages"])


def _table(messages: "list[Message]", output: Output) -> list[str]:
    headers = ["ID", "TIME", "FROM", "TO", "KIND", "STATE", "BODY"]
    rows: list[Row] = [
        [
            Cell(str(m.id), right=True),
            local_time(m.queued),
            m.sender,
            m.to,
            m.kind,
            m.state,
            one_line(m.body),
        ]
        for m in messages
    ]
    return output.table(headers, rows)


def _chronicle(messages: "list[Message]", output: Output) -> list[str]:
    lines: list[str] = []
    for m in messages:
        head = f"{m.id} {local_time(m.queued)} {m.sender} to {m.to}, {m.kind}, {m.state}"
        lines += [output.paint(head, "bold"), *output.indented(m.body)]
    return lines


COMMANDS = [send, inbox, history]
