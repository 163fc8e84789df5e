"""The options that all commands share: the form of the output, the pager, the legend, silence."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., object])

_META: Final = "hivectl.preferences"


class Form(StrEnum):
    """A form of the output."""

    SHORT = "short"
    JSON = "json"
    JSON_PRETTY = "json-pretty"


@dataclass
class Preferences:
    """The wishes of the operator about the output."""

    form: Form = Form.SHORT
    pager: bool = True
    legend: bool = True
    quiet: bool = False


def preferences() -> Preferences:
    """Return the preferences of the command that runs; the defaults outside of one."""
    context = click.get_current_context(silent=True)
    return Preferences() if context is None else _of(context)


def _of(context: click.Context) -> Preferences:
    found: Preferences = context.meta.setdefault(_META, Preferences())
    return found


def _set(context: click.Context, name: str, value: object) -> None:
    setattr(_of(context), name, value)


def _callback(name: str, value: object) -> Callable[..., Any]:
    """Return a callback of a flag that sets the preference `name` to `value`."""

    def note(context: click.Context, _parameter: click.Parameter, given: bool) -> None:
        if given:
            _set(context, name, value)

    return note


def _form_option(command: Command) -> Command:
    def note(context: click.Context, _parameter: click.Parameter, given: str | None) -> None:
        if given:
            _set(context, "form", Form(given))

    return click.option(
        "-o",
        "--output",
        type=click.Choice([form.value for form in Form]),
        expose_value=False,
        metavar="FORM",
        help="The form of the output: short, json (on one line) or json-pretty.",
        callback=note,
    )(command)


def _json_option(command: Command, printed: str) -> Command:
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        help=f"Print {printed}, for programs.",
        callback=_callback("form", Form.JSON_PRETTY),
    )(command)


def shared_options(command: Command, *, hidden: bool) -> Command:
    """Add the options that every command takes, before its name or after it."""
    for names, preference, value, help_text in (
        (
            ("-q", "--quiet"),
            "quiet",
            True,
            "Print errors and requested data only: no progress, no notes, no confirmations.",
        ),
        (("--no-legend",), "legend", False, "Print no headers of tables."),
        (("--no-pager",), "pager", False, "Do not pipe long output into a pager."),
    ):
        command = click.option(
            *names,
            f"_{preference}",
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            help=help_text,
            callback=_callback(preference, value),
        )(command)
    return command


def output_options(command: Command, printed: str = "JSON", *, formats: bool = True) -> Command:
    """Add the options about the output to a command.

    Args:
        command: the command.
        printed: the output of --json.
        formats: whether -o is the form of the output; otherwise it has another meaning here.
    """
    command = shared_options(command, hidden=True)
    if formats:
        command = _form_option(command)
    return _json_option(command, printed)


def main_options(command: Command) -> Command:
    """Add the options about the output to hivectl itself; they stand before the command."""
    return _json_option(_form_option(shared_options(command, hidden=False)), "JSON")
