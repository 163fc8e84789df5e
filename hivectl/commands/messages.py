"""Commands about messages and inboxes: send, unsend, inbox, purge-inbox."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.types import record_id, seconds
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Output, confirm
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.broker import Message

WAIT_SECONDS = 180.0


@click.command()
@click.argument("to", shell_complete=complete_agents)
@click.argument("body")
@click.option(
    "--urgent",
    is_flag=True,
    help="If the agent is in a turn, deliver the message into it as soon as the tool call that "
    "runs has ended. Otherwise begin a turn with the message, even if the agent is held.",
)
@click.option(
    "--interrupt",
    is_flag=True,
    help="With --urgent: cancel the tool call that runs, so that the agent reads the message at "
    "once. Its turn goes on.",
)
@click.option(
    "--in-reply-to", type=record_id, metavar="ID", help="The message that this one answers."
)
@click.option(
    "--dedupe-key",
    metavar="KEY",
    help="If you sent a message with this KEY before, send nothing and print its ID.",
)
@hive_command
async def send(
    hive: "Hive",
    output: Output,
    to: str,
    body: str,
    urgent: bool,
    interrupt: bool,
    in_reply_to: int | None,
    dedupe_key: str | None,
) -> None:
    """Send a message to an agent.

    TO is the name of an agent, or `*` for all agents. BODY is the message, or `-` to read it from
    standard input.
    """
    from wire.records.broker import SendOptions

    if interrupt and not urgent:
        raise CommandError(Exit.USAGE, "--interrupt needs --urgent.")
    options = SendOptions(
        in_reply_to=in_reply_to, dedupe_key=dedupe_key, urgent=urgent, interrupt=interrupt
    )
    number = await hive.broker.send(to, stdin_text() if body == "-" else body, options)
    line = f"message {number} queued for {'all agents' if to == '*' else to}"
    if not urgent and any(hold.agent == to for hold in await hive.broker.list_holds()):
        line += f"; {to} is held: see `hivectl holds`"
    output.show({"id": number}, [line + await _why_unread(hive, to)])


async def _why_unread(hive: "Hive", to: str) -> str:
    """Return why an agent does not read a message now; empty if it does, or that is not known."""
    from wire.errors import HiveError
    from wire.records.lifecycle import AgentState

    reasons = {
        AgentState.STOPPED: f"is stopped, and reads it after `hivectl start {to}`",
        AgentState.FAILED: f"has failed, and reads it after `hivectl start {to}`",
        AgentState.PAUSED: f"is paused, and reads it after `hivectl resume {to}`",
    }
    try:
        state = AgentState(str(await hive.agents.call(to, lambda agent: agent.get("State"))))
    except (HiveError, ValueError):
        return ""  # the message is queued whether lifecycle answers or not
    return f"; {to} {reasons[state]}" if state in reasons else ""


@click.command()
@click.argument("numbers", metavar="ID...", nargs=-1, required=True, type=record_id)
@hive_command
async def unsend(hive: "Hive", output: Output, numbers: Sequence[int]) -> None:
    """Take back messages that nobody has read yet.

    ID is the number that `hivectl send` printed. The ID of a message to `*` takes back all copies
    that nobody has. To stop an agent that works on a message, cancel its turn: `hivectl cancel`.
    """
    for number in numbers:
        await hive.broker.retract(number)
    output.show(
        [{"id": number, "state": "retracted"} for number in numbers],
        [f"message {number} taken back" for number in numbers],
    )


def stdin_text() -> str:
    """Return all of standard input.

    Raises:
        CommandError: standard input is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise CommandError(Exit.USAGE, f"Standard input is not UTF-8 text: {error}.") from error


@click.command()
@click.option(
    "--ack", "--acknowledge", is_flag=True, help="Acknowledge the messages that are shown."
)
@click.option("--all", "everything", is_flag=True, help="Include acknowledged messages.")
@click.option(
    "--from",
    "sender",
    metavar="NAME",
    shell_complete=complete_agents,
    help="Show only messages from NAME.",
)
@click.option(
    "--wait",
    type=seconds,
    is_flag=False,
    flag_value=WAIT_SECONDS,
    metavar="[SECONDS]",
    help="If the inbox is empty, wait for a message, at most SECONDS "
    f"({WAIT_SECONDS:g} if left out).",
)
@hive_command
async def inbox(
    hive: "Hive",
    output: Output,
    ack: bool,
    everything: bool,
    sender: str | None,
    wait: float | None,
) -> None:
    """Show the messages to you.

    A message stays in the inbox until it is acknowledged, in the dashboard or with --ack.
    """
    if everything and wait is not None:
        raise CommandError(Exit.USAGE, "Give only one of --all and --wait.")
    if wait is None:
        messages = await hive.inbox.messages(everything=everything, sender=sender)
    else:
        messages = await hive.inbox.wait(wait, sender)
    # Shown first and then acknowledged: no message is gone before somebody saw it.
    output.show(
        [json_forms.message(m) for m in messages],
        _message_lines(messages, output) or ["inbox is empty"],
    )
    unread = [m.id for m in messages if m.state in ("queued", "leased", "dead")]
    if ack and unread:
        await hive.inbox.acknowledge(unread)
    if wait is not None and not messages:
        raise CommandError(Exit.TIMEOUT, f"No message arrived within {wait:g} s.")


def _message_lines(messages: "list[Message]", output: Output) -> list[str]:
    lines: list[str] = []
    for message in messages:
        remarks = [message.kind] if message.kind != "message" else []
        remarks += ["urgent"] if message.urgent else []
        remarks += [f"answers {message.in_reply_to}"] if message.in_reply_to else []
        remarks += [_delivered(message.redeliveries)] if message.redeliveries else []
        remarks += [message.state] if message.state not in ("queued", "leased") else []
        head = f"{message.id} from {message.sender} at {local_time(message.queued)}"
        lines.append(output.paint(", ".join([head, *remarks]), "bold"))
        lines += output.indented(message.body)
    return lines


def _delivered(times: int) -> str:
    return f"delivered {'once' if times == 1 else f'{times} times'} before"


@click.command("purge-inbox")
@click.argument("name", shell_complete=complete_agents)
@click.option(
    "--from",
    "sender",
    metavar="NAME",
    shell_complete=complete_agents,
    help="Drop only messages from NAME, and those about NAME's questions and answers.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@hive_command
async def purge_inbox(
    hive: "Hive", output: Output, name: str, sender: str | None, yes: bool
) -> None:
    """Drop the messages that wait in an inbox.

    NAME is an agent, or `operator` for your own inbox. Dropped messages are never delivered; they
    remain in the history. Messages that the agent is working on stay, and so do dead letters.
    """
    from wire.records.broker import PurgeOptions

    if not yes:
        whose = f"all messages from {sender}" if sender else "all messages"
        confirm(
            f"Drop {whose} that wait in the inbox of {name}? Dropped messages are never delivered.",
            "purge-inbox",
        )
    purged = await hive.broker.purge_inbox(name, PurgeOptions(sender))
    lines = [f"{_counted(purged.dropped)} dropped from the inbox of {name}"]
    if purged.leased:
        lines.append(f"{_counted(purged.leased)} kept, on which {name} is working")
    output.show({"dropped": purged.dropped, "leased": purged.leased}, lines)


def _counted(count: int) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


COMMANDS = [send, unsend, inbox, purge_inbox]
