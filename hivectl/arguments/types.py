"""The types of arguments and options: numbers, seconds, times, durations."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from hivectl.arguments import times

MAX_SECONDS = 31_536_000


class Number(click.IntRange):
    """A whole number; click's own name for it in error messages is "integer range"."""

    name = "number"


class Seconds(click.FloatRange):
    """A time limit in seconds: more than 0, and at most a year."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(min=0, max=MAX_SECONDS, min_open=True)

    # Any: click's own signature.
    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Convert like click, but refuse NaN, which is within click's bounds."""
        seconds = super().convert(value, parameter, context)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a valid number.", parameter, context)
        return seconds


def record_id(typed: str) -> int:
    """Return the ID of a record that the broker keeps.

    Raises:
        click.BadParameter: `typed` is not an ID.
    """
    if not (typed.isascii() and typed.isdigit() and len(typed) < 20 and 1 <= int(typed) < 2**63):
        raise click.BadParameter(f"{typed!r} is not a valid ID: IDs are whole numbers from 1.")
    return int(typed)


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
