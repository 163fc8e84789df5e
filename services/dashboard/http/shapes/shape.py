"""The base of the shapes of answers, and the shapes that many answers have.

Tests hold real answers against the shapes. An answer may have more fields than its shape names:
clients must ignore those that they do not know.
"""

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """The base of all shapes."""

    model_config = ConfigDict(extra="allow")


class Mark(Shape):
    """A part of a text that must not be shown as it is."""

    text: str
    shown: str
    reason: str


Text: TypeAlias = str | list[str | Mark]
"""A text that somebody else may have written, as it is to be shown."""


class Nothing(Shape):
    """An answer without content: it was done."""


class Error(Shape):
    """A refusal: a sentence, and the name of the error on the bus."""

    error: str
    name: str


class Said(Shape):
    """A sentence of the agent's harness, or about the outcome."""

    said: Text
