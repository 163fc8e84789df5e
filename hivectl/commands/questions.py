"""Commands about questions: questions, ask, answer, cancel-question."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_questions
from hivectl.arguments.types import duration, number, record_id, seconds
from hivectl.commands.messages import WAIT_SECONDS, stdin_text, typed_text
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.listing import question_lines, question_table
from hivectl.output.terminal import Output
from hivectl.output.text import one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive
    from wire.records.approvals import Allowed
    from wire.records.broker import AskOptions, Question

_question = click.argument(
    "number", metavar="ID", type=record_id, shell_complete=complete_questions
)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Include resolved questions.")
@click.option(
    "--to", metavar="NAME", shell_complete=complete_agents, help="Only questions to NAME."
)
@click.option(
    "--from",
    "asker",
    metavar="NAME",
    shell_complete=complete_agents,
    help="Only questions from NAME.",
)
@click.option(
    "--limit",
    type=number(1, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="Show the newest N, at most 1000.",
)
@click.option("--full", is_flag=True, help="Show complete questions.")
@hive_command
async def questions(
    hive: "Hive",
    output: Output,
    everything: bool,
    to: str | None,
    asker: str | None,
    limit: int,
    full: bool,
) -> None:
    """List the open questions of the whole hive, oldest first."""
    from wire.records.broker import QuestionFilter, QuestionState

    state = None if everything else QuestionState.OPEN
    wanted = QuestionFilter(recipient=to, sender=asker, state=state)
    found = await hive.broker.list_questions(wanted, limit)
    if not found:
        await hive.agents.expect_sender(to)
        await hive.agents.expect_sender(asker)
    if full:
        lines = question_lines(found, output)
    else:
        lines = question_table(found, output, open_only=not everything)
    nothing = "no questions yet" if everything else "no open questions"
    output.show([json_forms.question(q) for q in found], lines or [nothing])
    if len(found) == limit:
        output.note(f"Only the newest {limit} are shown; --limit shows more.")


@click.command()
@_question
@click.argument("text", nargs=-1, required=True)
@hive_command
async def answer(hive: "Hive", output: Output, number: int, text: Sequence[str]) -> None:
    """Answer a question to you, or answer in place of an agent.

    TEXT is the answer, or `-` to read it from standard input. If the question has choices, TEXT
    is a choice or its number; give several if the question allows several.

    If a tool call waits for the answer, a second TEXT tells the agent why you deny the call. A text
    of your own without a choice denies it, too: nobody could enforce a condition in it.
    `Always allow` also adds the rule that `questions --full` shows to the agent's agent.toml.
    """
    from wire.records.broker import ALLOW_ALWAYS, DENY

    question = await hive.questions.get(number)
    if question.state != "open":
        # The broker says why: that is the fault, and not a choice that does not exist.
        await hive.broker.answer(number, list(text))
    given = _chosen(question, text)
    lines = []
    if question.rule and ALLOW_ALWAYS in given:
        # First: if that fails, the question stays open.
        why = f"Question {number}: the operator always allows {question.rule}."
        allowed = await hive.approvals.allow_tool(question.asker, question.rule, why)
        lines.append(_allowed(question, allowed))
    await hive.broker.answer(number, given)
    shown = ", ".join(one_line(part) for part in given)
    if DENY in question.choices and not set(given) & set(question.choices):
        shown += " (the call is denied, and the agent reads this)"
    output.show(
        {"id": number, "state": "answered", "answer": given},
        [output.paint(f"question {number} of {question.asker} answered: {shown}", ""), *lines],
    )


def _allowed(question: "Question", allowed: "Allowed") -> str:
    from wire.records.approvals import NO_JOB

    what = f"request {allowed.request} allows {one_line(question.rule)} to {question.asker}"
    if allowed.job == NO_JOB:
        return f"{what} and waits: hivectl diff {allowed.request}"
    return f"{what} and is deployed when the turn is over"


def _chosen(question: "Question", text: Sequence[str]) -> list[str]:
    """Return the answer that was typed, as the broker accepts it.

    Raises:
        CommandError: the question does not allow this answer.
    """
    if question.permission:
        return _about_a_call(question, text)
    if question.choices:
        return [_choice(question, typed) for typed in text]
    if len(text) > 1:
        raise CommandError(
            Exit.USAGE, f"Question {question.id} takes one text. Put several words in quotes."
        )
    return [stdin_text() if text[0] == "-" else text[0]]


def _about_a_call(question: "Question", text: Sequence[str]) -> list[str]:
    """Return the answer about a tool call, which may have a text of the operator's own."""
    from wire.records.broker import DENY

    given = [_known(question, typed) or (stdin_text() if typed == "-" else typed) for typed in text]
    own = [part for part in given if part not in question.choices]
    if own and DENY in question.choices and set(given) - {DENY, *own}:
        raise CommandError(
            Exit.USAGE,
            f"{own[0]!r} is not one of the choices. A text of your own goes with {DENY!r} alone: "
            "it tells the agent why.",
        )
    return given


def _known(question: "Question", typed: str) -> str | None:
    """Return the choice that was typed, as a text or a number."""
    from wire.records.broker import have_numbers

    if typed in question.choices:
        return typed
    if not have_numbers(question.choices):
        return None
    if typed.isascii() and typed.isdigit() and 1 <= int(typed[:9]) <= len(question.choices):
        return question.choices[int(typed) - 1]
    return None


def _choice(question: "Question", typed: str) -> str:
    if known := _known(question, typed):
        return known
    offered = "; ".join(f"{at} {one_line(text)}" for at, text in enumerate(question.choices, 1))
    raise CommandError(Exit.USAGE, f"{typed!r} is not one of the choices: {offered}.")


@click.command("cancel-question")
@_question
@hive_command
async def cancel_question(hive: "Hive", output: Output, number: int) -> None:
    """Cancel an open question; its asker is told."""
    await hive.broker.cancel(number)
    output.show({"id": number, "state": "cancelled"}, [f"question {number} cancelled"])


@click.command()
@click.argument("name", shell_complete=complete_agents)
@click.argument("question", nargs=-1, required=True)
@click.option(
    "--choice",
    "choices",
    metavar="TEXT",
    multiple=True,
    help="A possible answer; repeat the option for each.",
)
@click.option("--multi", is_flag=True, help="Allow an answer to have several choices.")
@click.option(
    "--ttl",
    type=duration(days=30),
    metavar="DURATION",
    help="The question expires after DURATION: 90s, 10m, 2d; at most 30d.",
)
@click.option(
    "--dedupe-key",
    metavar="KEY",
    help="If you asked a question with this KEY before, ask nothing and print its ID.",
)
@click.option(
    "--wait",
    type=seconds,
    is_flag=False,
    flag_value=WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"Wait for the answer, at most SECONDS ({WAIT_SECONDS:g} if left out), and print it.",
)
@hive_command
async def ask(
    hive: "Hive",
    output: Output,
    name: str,
    question: Sequence[str],
    choices: Sequence[str],
    multi: bool,
    ttl: int | None,
    dedupe_key: str | None,
    wait: float | None,
) -> None:
    """Ask an agent a question.

    QUESTION is the question, whose words need no quotes, or `-` to read it from standard input.
    The answer arrives in your inbox. With --wait it is printed, one choice per line, and the
    message with it is acknowledged.
    """
    text = typed_text(question)
    options = _options(choices, multi, ttl, dedupe_key)
    if wait is None:
        number = await hive.broker.ask(name, text, options)
        output.show({"id": number}, [f"question {number} asked of {name}"])
        return
    async with hive.questions.watch() as ended:
        number = await hive.broker.ask(name, text, options)
        output.note(f"question {number} asked of {name}; waiting for the answer")
        resolved = await ended.end_of(number, wait)
    _show_end(resolved, output, wait)
    await hive.inbox.acknowledge_answer(number)


def _options(
    choices: Sequence[str], multi: bool, ttl: int | None, dedupe_key: str | None
) -> "AskOptions":
    from wire.records.broker import AskOptions

    if multi and not choices:
        raise CommandError(Exit.USAGE, "--multi needs choices: repeat --choice for each of them.")
    return AskOptions(choices=list(choices) or None, multi=multi, ttl_s=ttl, dedupe_key=dedupe_key)


def _show_end(question: "Question", output: Output, waited: float) -> None:
    """Print the answer.

    Raises:
        CommandError: there is no answer.
    """
    answer = [line for text in question.answer for line in output.plain(text)]
    output.show(json_forms.question(question), answer)
    match question.state:
        case "open":
            raise CommandError(
                Exit.TIMEOUT, f"No answer within {waited:g} s; question {question.id} stays open."
            )
        case "expired":
            raise CommandError(Exit.TIMEOUT, f"Question {question.id} expired unanswered.")
        case "cancelled":
            raise CommandError(Exit.CONFLICT, f"Question {question.id} was cancelled.")


COMMANDS = [questions, answer, ask, cancel_question]
