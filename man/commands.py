"""The commands and exit codes of hivectl in Markdown, from the command line itself."""

import inspect
import re
from collections.abc import Iterator
from typing import Final

import click

from hivectl.command_table import sections
from hivectl.exit_codes import MEANING
from man.roff import escape

_OPTION: Final = re.compile(r"((?:--?[\w-]+(?:, )?)+)(?: (.*))?")
_SHARED: Final = ("--json", "--output", "--no-wait", "--timeout")
"""The options that hivectl.1.md describes, for all commands that take them."""


def commands() -> str:
    """Return each command by topic: its arguments, its help and its options."""
    lines: list[str] = []
    for title, found in sections().items():
        lines += [f"## {title}", ""]
        for command in found:
            lines += _command(command)
    return "\n".join(lines)


def exit_codes() -> str:
    """Return the table of exit codes."""
    return "\n".join(f"{code.value}\n:   {meaning}.\n" for code, meaning in MEANING.items())


def _command(command: click.Command, group: str = "") -> Iterator[str]:
    context = click.Context(command, info_name=command.name)
    name = f"{group}{command.name}"
    arguments = [p for p in command.collect_usage_pieces(context) if p != "[OPTIONS]"]
    if isinstance(command, click.Group):
        arguments = ["COMMAND"]
    yield " ".join([f"**{name}**", *(f"*{argument}*" for argument in arguments)])
    body = [*_paragraphs(inspect.cleandoc(command.help or ""))]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not set(_SHARED) & set(parameter.opts):
            body += _option(parameter, context)
    yield from _as_body(body)
    if isinstance(command, click.Group):
        for member in command.commands.values():
            yield from _command(member, f"{name} ")


def _paragraphs(help_text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text; `\\b` begins one whose lines stay as they are."""
    for paragraph in help_text.split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from (f"    {line}" for line in paragraph.split("\n")[1:])
        else:
            yield from escape(paragraph).split("\n")
        yield ""


def _option(option: click.Option, context: click.Context) -> Iterator[str]:
    record = option.get_help_record(context)
    if record is None:
        return
    names, text = record
    found = _OPTION.fullmatch(names)
    assert found is not None, names  # noqa: S101 - of our own command line
    term = ", ".join(f"**{name}**" for name in found[1].split(", "))
    yield f"{term} *{found[2]}*" if found[2] else term
    yield from _as_body([escape(text.replace("  [", " ["))])


def _as_body(lines: list[str]) -> Iterator[str]:
    """Yield `lines` as the body of a definition."""
    first, *rest = lines
    yield f":   {first}"
    yield from (f"    {line}".rstrip() for line in rest)
    yield ""
