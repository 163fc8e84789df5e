"""The types of arguments and options: numbers, seconds, times, durations."""

import re
from collections.abc import Callable
from datetime import datetime

import click

from hivectl.arguments import times

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
