"""Texts that others wrote, in the form in which pages show them.

A text is a string, or a list of its parts if some of them must not be shown as they are. Such a
part is a mark: its text, the text to show instead, and the reason. The texts of all parts make the
whole text. Pages hold no rules: what the server sends as a string is harmless to show.
"""

from collections.abc import Iterable
from typing import Final

from services.dashboard.state.tables import Json
from wire.text.escaping import literal_parts, prose_parts
from wire.text.parts import Mark, Part, Reason

MAX_MARKS: Final = 100
"""The marks of one text; with more, the whole text is one mark, which needs less memory."""

_WORDS: Final = (Reason.LOOKALIKE, Reason.MIXED, Reason.HOST)
"""The reasons that concern letters, which the reason may repeat as they are."""


def message(text: str) -> Json:
    """Return a text in any language."""
    return _json(prose_parts(text))


def exactly(text: str) -> Json:
    """Return a text that is read exactly, such as a line of a diff, a path or an identifier."""
    return _json(literal_parts(text))


def messages(texts: Iterable[str]) -> list[Json]:
    """Return texts in any language."""
    return [message(text) for text in texts]


def lines(text: str) -> list[Json]:
    """Return the lines of a text that is read exactly; only a newline ends a line."""
    return [exactly(line) for line in text.removesuffix("\n").split("\n")] if text else []


def _json(parts: list[Part]) -> Json:
    match parts:
        case []:
            return ""
        case [str(text)]:
            return text
    if sum(isinstance(part, Mark) for part in parts) > MAX_MARKS:
        text = "".join(part if isinstance(part, str) else part.text for part in parts)
        shown = "".join(map(str, parts))
        return [{"text": text, "shown": shown, "reason": f"more than {MAX_MARKS} marks"}]
    return [part if isinstance(part, str) else _mark(part) for part in parts]


def _mark(mark: Mark) -> Json:
    reason = f"{mark.reason}: {mark.text}" if mark.reason in _WORDS else str(mark.reason)
    return {"text": mark.text, "shown": mark.shown, "reason": reason}
