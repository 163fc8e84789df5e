"""Commands about messages and inboxes: send, unsend, inbox, purge-inbox."""

import functools
import sys
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_sent
from hivectl.arguments.types import number, record_id, seconds
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import local_time
from hivectl.output.terminal import Output, confirm
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.broker import Message

WAIT_SECONDS = 180.0

_wait = functools.partial(
    click.option,
    "--wait",
    type=seconds,
    is_flag=False,
    flag_value=WAIT_SECONDS,
    metavar="[SECONDS]",
)


@click.command()
@click.argument("to", shell_complete=complete_agents)
@click.argument("body", nargs=-1, required=True)
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
@_wait(
    help="Wait for the next message from TO, at most SECONDS "
    f"({WAIT_SECONDS:g} if left out), print it, and acknowledge it.",
)
@hive_command
async def send(
    hive: "Hive",
    output: Output,
    to: str,
    body: Sequence[str],
    urgent: bool,
    interrupt: bool,
    in_reply_to: int | None,
    dedupe_key: str | None,
    wait: float | None,
) -> None:
    """Send a message to an agent.

    TO is the name of an agent, or `*` for all agents. BODY is the message, whose words need no
    quotes, or `-` to read it from standard input.
    """
    from wire.records.broker import SendOptions

    if interrupt and not urgent:
        raise CommandError(Exit.USAGE, "--interrupt needs --urgent.")
    options = SendOptions(
        in_reply_to=in_reply_to, dedupe_key=dedupe_key, urgent=urgent, interrupt=interrupt
    )
    text = typed_text(body)
    if wait is None:
        number = await _known_to(hive, to, hive.broker.send(to, text, options))
        output.done({"id": number}, [await _queued(hive, number, to, urgent=urgent)])
        return
    after = await hive.inbox.newest()
    number = await _known_to(hive, to, hive.broker.send(to, text, options))
    output.note(await _queued(hive, number, to, urgent=urgent))
    answers = await hive.inbox.wait(wait, None if to == "*" else to, after)
    output.show(
        {"id": number, "answers": [json_forms.message(m) for m in answers]},
        _message_lines(answers, output),
    )
    if not answers:
        raise _nothing_came(wait)
    await hive.inbox.acknowledge([m.id for m in answers])


async def _known_to(hive: "Hive", to: str, sending: Awaitable[int]) -> int:
    """Send a message; if the recipient does not exist, name the agent that was meant."""
    from wire.errors import NotFound

    try:
        return await sending
    except NotFound:
        await hive.agents.expect(to)
        raise


async def _queued(hive: "Hive", number: int, to: str, *, urgent: bool) -> str:
    """Return the sentence about a message that was sent."""
    line = f"message {number} queued for {'all agents' if to == '*' else to}"
    if not urgent and any(hold.agent == to for hold in await hive.broker.list_holds()):
        line += f"; {to} is held: see `hivectl holds`"
    return line + await _why_unread(hive, to)


def _nothing_came(seconds: float) -> CommandError:
    return CommandError(Exit.TIMEOUT, f"No message arrived within {seconds:g} s.")


async def _why_unread(hive: "Hive", to: str) -> str:
    """Return why an agent does not read a message now; empty if it does, or that is not known."""
    from wire.errors import HiveError
    from wire.records.lifecycle import AgentState, TurnState

    reasons = {
        AgentState.STOPPED: f"is stopped, and reads it after `hivectl start {to}`",
        AgentState.FAILED: f"has failed, and reads it after `hivectl start {to}`",
        AgentState.PAUSED: f"is paused, and reads it after `hivectl resume {to}`",
    }
    try:
        state = AgentState(str(await hive.agents.call(to, lambda agent: agent.get("State"))))
        turn = str(await hive.agents.call(to, lambda agent: agent.get("TurnState")))
    except (HiveError, ValueError):
        return ""  # the message is queued whether lifecycle answers or not
    if state is AgentState.RUNNING and turn == TurnState.NEEDS_LOGIN:
        return f"; {to} has no valid login, and reads it after that: see `hivectl status {to}`"
    return f"; {to} {reasons[state]}" if state in reasons else ""


@click.command()
@click.argument(
    "numbers",
    metavar="ID...",
    nargs=-1,
    required=True,
    type=record_id,
    shell_complete=complete_sent,
)
@hive_command
async def unsend(hive: "Hive", output: Output, numbers: Sequence[int]) -> None:
    """Take back messages that nobody has read yet.

    ID is the number that `hivectl send` printed. The ID of a message to `*` takes back all copies
    that nobody has. To stop an agent that works on a message, cancel its turn: `hivectl cancel`.
    """
    for one in numbers:
        await hive.broker.retract(one)
    output.done(
        [{"id": one, "state": "retracted"} for one in numbers],
        [f"message {one} taken back" for one in numbers],
    )


def typed_text(words: Sequence[str]) -> str:
    """Return the words that were typed as one text, or standard input for a single `-`."""
    return stdin_text() if list(words) == ["-"] else " ".join(words)


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
    "--after",
    type=number(least=0),
    metavar="ID",
    help="Show only messages after the one with this ID; 0 for all.",
)
@_wait(
    help="Wait for the next message, at most SECONDS "
    f"({WAIT_SECONDS:g} if left out). With --after, return at once if there is one already.",
)
@click.option("-f", "--follow", is_flag=True, help="Show further messages as they come.")
@hive_command
async def inbox(
    hive: "Hive",
    output: Output,
    ack: bool,
    everything: bool,
    sender: str | None,
    after: int | None,
    wait: float | None,
    follow: bool,
) -> None:
    """Show the messages to you.

    A message stays in the inbox until it is acknowledged, in the dashboard or with --ack. With
    --follow, the messages that wait are shown, and then each one that comes; with --json, each is
    one line.
    """
    if [everything, wait is not None, follow].count(True) > 1:
        raise CommandError(Exit.USAGE, "Give only one of --all, --wait and --follow.")
    if follow:
        await _follow(hive, output, sender, after or 0, ack=ack)
        return
    if wait is None:
        messages = await hive.inbox.messages(everything=everything, sender=sender, after=after)
        if not messages:
            await hive.agents.expect_sender(sender)
    else:
        messages = await hive.inbox.wait(wait, sender, after)
    # Shown first and then acknowledged: no message is gone before somebody saw it.
    output.show(
        [json_forms.message(m) for m in messages],
        _message_lines(messages, output) or ["inbox is empty"],
    )
    if ack:
        await _acknowledge(hive, messages)
    if wait is not None and not messages:
        raise _nothing_came(wait)


async def _follow(
    hive: "Hive", output: Output, sender: str | None, after: int, *, ack: bool
) -> None:
    async with aclosing(hive.inbox.follow(sender, after)) as coming:
        async for messages in coming:
            for message in messages:
                output.show_next(json_forms.message(message), _message_lines([message], output))
            if ack:
                await _acknowledge(hive, messages)


async def _acknowledge(hive: "Hive", messages: "Sequence[Message]") -> None:
    unread = [m.id for m in messages if m.state in ("queued", "leased", "dead")]
    if unread:
        await hive.inbox.acknowledge(unread)


def _message_lines(messages: "list[Message]", output: Output) -> list[str]:
    lines: list[str] = []
    for message in messages:
        remarks = [message.kind] if message.kind != "message" else []
        remarks += ["urgent"] if message.urgent else []
        remarks += [f"answers {message.in_reply_to}"] if message.in_reply_to else []
        remarks += [_delivered(message.redeliveries)] if message.redeliveries else []
        remarks += [message.state] if message.state not in ("queued", "leased") else []
        head = f"{message.id} from {message.sender} at {local_time(message.queued)}"
        lines += output.heading(", ".join([head, *remarks]))
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

    await hive.agents.expect_sender(name)
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
