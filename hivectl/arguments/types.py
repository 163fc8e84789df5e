"""The types of what people type after an option: numbers, seconds, times, durations."""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from hivectl.arguments import times

MAX_SECONDS = 31_536_000


class Number(click.IntRange):
    """A whole number; click would tell people that theirs is no "integer range"."""

    name = "number"


class Seconds(click.FloatRange):
    """A time limit: more than nothing, and no more than a year."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(min=0, max=MAX_SECONDS, min_open=True)

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """See click, which lets NaN pass: it is beyond no bound."""
        seconds = super().convert(value, parameter, context)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a valid number.", parameter, context)
        return seconds


def record_id(typed: str) -> int:
    """The id of something that the broker keeps."""
    if not (typed.isascii() and typed.isdigit() and len(typed) < 20 and 1 <= int(typed) < 2**63):
        raise click.BadParameter(f"{typed!r} is no id.")
    return int(typed)


def duration(days: int) -> Callable[[str], int]:
    """Whole seconds, up to so many days."""
    return lambda typed: _read(lambda text: times.seconds(text, days * times.DAY), typed)


def past(typed: str) -> int:
    """Microseconds since 1970, of a time to look back to."""
    return _read(lambda text: times.past(text, datetime.now().astimezone()), typed)


def future(typed: str) -> int:
    """Microseconds since 1970, of a time to come."""
    return _read(lambda text: times.future(text, datetime.now().astimezone()), typed)


def _read(read: Callable[[str], int], typed: str) -> int:
    try:
        return read(typed)
    except times.NotATimeError as error:
        raise click.BadParameter(str(error)) from error
