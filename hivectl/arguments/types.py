"""The types of arguments and options: numbers, seconds, times, durations."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import click
from click.shell_completion import CompletionItem

from hivectl.arguments import times
from hivectl.arguments.hints import hint

MAX_SECONDS = 31_536_000


def number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a type for whole numbers from `least` to `most`."""

    def convert(typed: str) -> int:
        try:
            found = int(typed)
        except ValueError:
            raise click.BadParameter(f"{typed!r} is not a valid number.") from None
        if found < least or (most is not None and found > most):
            upper = "" if most is None else f" and at most {most}"
            raise click.BadParameter(f"{typed} is out of range: at least {least}{upper}.")
        return found

    return convert


def seconds(typed: str) -> float:
    """Return a time limit in seconds, which is more than 0 and at most a year.

    Raises:
        click.BadParameter: `typed` is not a number, or out of range.
    """
    try:
        found = float(typed)
    except ValueError:
        raise click.BadParameter(f"{typed!r} is not a valid number.") from None
    if not 0 < found <= MAX_SECONDS:  # as NaN is not
        raise click.BadParameter(f"{typed} is out of range: more than 0 and at most {MAX_SECONDS}.")
    return found


def record_id(typed: str) -> int:
    """Return the ID of a record that the broker keeps.

    Raises:
        click.BadParameter: `typed` is not an ID.
    """
    if not (typed.isascii() and typed.isdigit() and len(typed) < 20 and 1 <= int(typed) < 2**63):
        raise click.BadParameter(f"{typed!r} is not a valid ID: IDs are whole numbers from 1.")
    return int(typed)


NO_LIMIT = "none"
"""The word for a budget without a limit."""


def dollars(typed: str) -> int:
    """Return a limit in dollars as millionths of a dollar; 0 for no limit.

    Raises:
        click.BadParameter: `typed` is not an amount, or out of range.
    """
    if typed == NO_LIMIT:
        return 0
    found = re.fullmatch(r"\$?(\d{1,8})(?:\.(\d{1,6}))?", typed, re.ASCII)
    amount = int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0")) if found else 0
    if not 0 < amount <= 10_000_000_000_000:
        raise click.BadParameter(
            f"{typed!r} is not a valid limit: give dollars such as 5 or 2.50, more than 0 and at "
            f"most 10000000, or {NO_LIMIT}."
        )
    return amount


def tokens(typed: str) -> int:
    """Return a limit in tokens; 0 for no limit.

    Raises:
        click.BadParameter: `typed` is not a number of tokens, or out of range.
    """
    if typed == NO_LIMIT:
        return 0
    found = re.fullmatch(r"(\d{1,16})([kMG]?)", typed, re.ASCII)
    amount = int(found[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[found[2]] if found else 0
    if not 0 < amount <= 10**15:
        raise click.BadParameter(
            f"{typed!r} is not a valid limit: give a number of tokens such as 500000, 500k or 2M, "
            f"at most 10^15, or {NO_LIMIT}."
        )
    return amount


def host_and_port(typed: str) -> tuple[str, int | None]:
    """Return a host and its port, such as of `github.com:22` or `[fd00::1]:443`; None: no port.

    Raises:
        click.BadParameter: `typed` is not a host, with a port or without.
    """
    found = re.fullmatch(
        r"(?:([A-Za-z0-9*_.-]{1,253})|\[([0-9A-Fa-f:.]{2,45})\])(?::([1-9]\d{0,4}))?",
        typed,
        re.ASCII,
    )
    if not found or int(found[3] or 1) > 65535:
        raise click.BadParameter(
            f"{typed!r} is not a valid host: give a name or an address, with a port if needed: "
            "github.com, crates.io:443, 10.1.2.3:8080, [fd00::1]:443."
        )
    return (found[1] or found[2]).lower(), int(found[3]) if found[3] else None


def commit(typed: str) -> str:
    """Return the name of a commit, or at least 7 digits of its beginning.

    Raises:
        click.BadParameter: `typed` is not such a name.
    """
    if not re.fullmatch(r"[0-9a-f]{7,40}", typed):
        raise click.BadParameter(
            f"{typed!r} is not a valid commit: give 7 to 40 of its hexadecimal digits, "
            "as `hivectl pending` shows them."
        )
    return typed


class Reviewed(NamedTuple):
    """A request for approval, or a change of a project."""

    number: int
    is_change: bool


def reviewed(typed: str) -> Reviewed:
    """Return the request or the change that an ID names: 12 is a request, c12 a change.

    Raises:
        click.BadParameter: `typed` is neither.
    """
    digits = typed.removeprefix("c")
    if not re.fullmatch(r"[1-9][0-9]{0,14}", digits, re.ASCII):
        raise click.BadParameter(
            f"{typed!r} is not a valid ID: give the number of a request, such as 12, or that of a "
            "change, such as c12."
        )
    return Reviewed(int(digits), is_change=digits != typed)


def change(typed: str) -> int:
    """Return the number of a change, which is written as c12.

    Raises:
        click.BadParameter: `typed` is not the ID of a change.
    """
    if not typed.startswith("c"):
        raise click.BadParameter(
            f"{typed!r} is not the ID of a change: those are written with a c, such as c12."
        )
    return reviewed(typed).number


def place(typed: str) -> tuple[str, int]:
    """Return a file and a line, as of `src/app.py:12`; line 0: the whole file.

    Raises:
        click.BadParameter: there is no file.
    """
    path, colon, line = typed.rpartition(":")
    if colon and re.fullmatch(r"[1-9][0-9]{0,8}", line, re.ASCII):
        found = path, int(line)
    else:
        found = typed, 0
    if not found[0]:
        raise click.BadParameter(f"{typed!r} names no file: give FILE or FILE:LINE.")
    return found


def duration(days: int) -> Callable[[str], int]:
    """Return a type for durations of at most `days` days, in whole seconds."""
    return lambda typed: _read(lambda text: times.seconds(text, days * times.DAY), typed)


def past(typed: str) -> int:
    """Return a time in the past, in microseconds since 1970.

    Raises:
        click.BadParameter: `typed` is not a time.
    """
    return _read(lambda text: times.past(text, datetime.now().astimezone()), typed)


def future(typed: str) -> int:
    """Return a time in the future, in microseconds since 1970.

    Raises:
        click.BadParameter: `typed` is not a time, or it has passed.
    """
    return _read(lambda text: times.future(text, datetime.now().astimezone()), typed)


def _read(read: Callable[[str], int], typed: str) -> int:
    try:
        return read(typed)
    except times.InvalidTimeError as error:
        raise click.BadParameter(str(error)) from error


class PriorityType(click.ParamType[int]):
    """The type of a priority of the journal: 0, an emergency, to 7, debugging."""

    name = "priority"
    known = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number of the priority that was typed."""
        typed = str(value)
        if typed in self.known:
            return self.known.index(typed)
        if typed.isascii() and typed.isdigit() and int(typed[:3]) < len(self.known):
            return int(typed)
        raise click.BadParameter(
            f"{typed!r} is not a priority: give 0 to 7, or one of {', '.join(self.known)}."
            f"{hint(typed, self.known)}"
        )

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the names that begin with what was typed."""
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]
