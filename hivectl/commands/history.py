"""Commands about past messages: history, search."""

import functools
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents
from hivectl.arguments.kinds import KindType
from hivectl.arguments.types import number, past, record_id
from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import Callback
from hivectl.output import json_forms
from hivectl.output.listing import message_lines, message_table, question_lines, question_table
from hivectl.output.terminal import Output
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.broker import Message, MessageFilter, Question

STATES = ["queued", "leased", "acknowledged", "dead", "dropped", "retracted", "cancelled"]
QUESTION = "question"
"""The `--kind` of search that selects questions; no message has this kind."""


def _paging(command: Callback) -> Callback:
    """Add the options that history and search share."""
    options = [
        click.option(
            "--agent",
            metavar="NAME",
            shell_complete=complete_agents,
            help="Only messages from or to NAME.",
        ),
        click.option("--since", type=past, metavar="TIME", help="Only messages since TIME."),
        click.option("--until", type=past, metavar="TIME", help="Only messages before TIME."),
        click.option(
            "--limit",
            type=number(1, 1000),
            default=50,
            show_default=True,
            metavar="N",
            help="Show the newest N, at most 1000.",
        ),
        click.option(
            "--before", type=record_id, metavar="ID", help="Only messages older than message ID."
        ),
        click.option("--full", is_flag=True, help="Show complete texts."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.option("--to", metavar="NAME", shell_complete=complete_agents, help="Only messages to NAME.")
@click.option(
    "--from",
    "sender",
    metavar="NAME",
    shell_complete=complete_agents,
    help="Only messages from NAME.",
)
@click.option(
    "--kind",
    type=KindType(),
    metavar="KIND",
    help="Only messages of this kind, such as container-crash.",
)
@click.option("--state", type=click.Choice(STATES), help="Only messages in this state.")
@_paging
@click.option("-f", "--follow", is_flag=True, help="Show further messages as they are sent.")
@hive_command
async def history(
    hive: "Hive",
    output: Output,
    to: str | None,
    sender: str | None,
    kind: str | None,
    state: str | None,
    agent: str | None,
    since: int | None,
    until: int | None,
    limit: int,
    before: int | None,
    full: bool,
    follow: bool,
) -> None:
    """List the messages of the whole hive, oldest first.

    With --follow, each message that is sent from then on follows; with --json, each is one line.
    TIME is 10:00, "yesterday 10:00", 2026-01-31, 2026-01-31T10:00, or 2h for two hours ago.
    """
    from wire.records.broker import MessageFilter, MessageState

    wanted = MessageFilter(
        recipient=to,
        sender=sender,
        agent=agent,
        before=before,
        since=since,
        until=until,
        kind=kind,
        state=MessageState(state) if state else None,
    )
    if follow:
        if until is not None or before is not None:
            raise CommandError(Exit.USAGE, "--follow cannot be combined with --until or --before.")
        await _follow(hive, output, wanted, limit, full=full)
        return
    messages = await hive.broker.list_messages(wanted, limit)
    if not messages:
        await _expect(hive, to, sender, agent)
    lines = message_lines(messages, output) if full else message_table(messages, output)
    output.show([json_forms.message(m) for m in messages], lines or ["no messages"])


async def _expect(hive: "Hive", *names: str | None) -> None:
    """Refuse names of which nothing was found, if nobody has them."""
    for name in names:
        await hive.agents.expect_sender(name)


async def _follow(
    hive: "Hive", output: Output, wanted: "MessageFilter", limit: int, *, full: bool
) -> None:
    """Show the newest messages, and then each new one."""
    messages = await hive.broker.list_messages(wanted, limit)
    last = messages[-1].id if messages else await hive.newest_message()
    show = functools.partial(_show_next, output, full=full)
    show(messages, legend=True)
    async with aclosing(hive.new_messages(wanted, last)) as coming:
        async for new in coming:
            show(new, legend=False)


def _show_next(output: Output, messages: "Sequence[Message]", *, full: bool, legend: bool) -> None:
    if output.as_json:
        for message in messages:
            output.show_next(json_forms.message(message), [])
        return
    found = list(messages)
    if full:
        output.show_next(None, message_lines(found, output))
    else:
        table = message_table(found, output)
        output.show_next(None, table if legend or not output.legend else table[1:])


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--kind",
    type=KindType(QUESTION),
    metavar="KIND",
    help="Only messages of this kind; `question`: only questions.",
)
@_paging
@hive_command
async def search(
    hive: "Hive",
    output: Output,
    text: Sequence[str],
    kind: str | None,
    agent: str | None,
    since: int | None,
    until: int | None,
    limit: int,
    before: int | None,
    full: bool,
) -> None:
    """Search messages and questions for words.

    A result contains all words of TEXT. '"two words"', with both quotes, finds a phrase, and a
    word with * at its end finds all words that begin like it. TIME is written as for `history`.

    --limit applies to messages and to questions separately. --before takes the ID of a message
    and leaves questions out; with `--kind question` it takes the ID of a question.
    """
    from wire.records.broker import MessageFilter, QuestionFilter

    words = " ".join(text)
    messages: list[Message] = []
    questions: list[Question] = []
    if kind != QUESTION:
        wanted = MessageFilter(
            agent=agent, text=words, before=before, since=since, until=until, kind=kind
        )
        messages = await hive.broker.list_messages(wanted, limit)
    if kind == QUESTION or (kind is None and before is None):
        asked = QuestionFilter(agent=agent, text=words, before=before, since=since, until=until)
        questions = await hive.broker.list_questions(asked, limit)
    if not messages and not questions:
        await _expect(hive, agent)
    output.show(
        {
            "messages": [json_forms.message(m) for m in messages],
            "questions": [json_forms.question(q) for q in questions],
        },
        _found(messages, questions, output, words, full=full) or ["nothing found"],
    )


def _found(
    messages: "list[Message]",
    questions: "list[Question]",
    output: Output,
    words: str,
    *,
    full: bool,
) -> list[str]:
    if full:
        blocks = [message_lines(messages, output), question_lines(questions, output)]
    else:
        blocks = [message_table(messages, output, words), question_table(questions, output, words)]
    titles = [output.paint(title, "bold") for title in ("messages", "questions")]
    lines: list[str] = []
    for title, block in zip(titles, blocks, strict=True):
        if block:
            lines += ["", title, *block] if lines else [title, *block]
    return lines


COMMANDS = [history, search]
