"""The parts of a text: strings that are shown as they are, and marks."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, TypeAlias


class Reason(StrEnum):
    """The reason why a part of a text is not shown as it is."""

    HIDDEN = "hidden, or it controls its neighbours"
    UNUSUAL = "neither ASCII nor a letter in common use"
    LOOKALIKE = "in a word with letters that look like others"
    MIXED = "in a word of several scripts"
    HOST = "the host in its ASCII form"


class Mark(NamedTuple):
    """A part of a text that is not shown as it is."""

    text: str
    """The part."""
    shown: str
    """The text to show instead: numbers such as `U+202E`, or a host."""
    reason: Reason

    def __str__(self) -> str:
        if self.reason is Reason.HOST:
            return self.shown
        return f"<{self.shown.replace(' ', '><')}>"


Part: TypeAlias = str | Mark
"""A part of a text; a string is shown as it is. The parts of a text make the whole text."""

Parts: TypeAlias = Sequence[Part]
