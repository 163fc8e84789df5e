"""Text that others wrote, made safe to show: hidden and misleading characters are spelled out.

There are two rules. `prose` is for messages between people and agents in any language: it spells
out characters that show nothing or control their neighbours, excess marks, and letters that pretend
to be ASCII in a word of several scripts. `literal` is for texts that are read exactly, such as
diffs, file names and arguments of tools. It shows ASCII, and words of letters that look like
nothing else; everything else is spelled out. In both, the host of a URL is shown in its ASCII form.

A character is spelled out as its number, `<U+202E>`. Newlines and tabs stay. Both rules take linear
time, and applying one again changes nothing. The rules are in rules.py, the form `<U+...>` is in
parts.py; docs/decisions/0016-hidden-text.md says why.
"""

import re
from typing import Final

from wire.text.parts import Part

_SPECIAL: Final = re.compile(r"[^\n\t -~]")


def prose(text: str, *, one_line: bool = False) -> str:
    """Return `text`, a message in any language, with what is hidden or misleading spelled out.

    Args:
        text: the text.
        one_line: spell out newlines and tabs, too.
    """
    if _SPECIAL.search(text):
        from wire.text.rules import PROSE  # its tables are large, and most texts need none of them

        text = PROSE.escape(text)
    return _one_line(text) if one_line else text


def literal(text: str, *, one_line: bool = False) -> str:
    """Return `text`, which is read exactly, with all that is not plainly readable spelled out.

    Args:
        text: the text.
        one_line: spell out newlines and tabs, too.
    """
    if _SPECIAL.search(text):
        from wire.text.rules import LITERAL

        text = LITERAL.escape(text)
    return _one_line(text) if one_line else text


def prose_parts(text: str) -> list[Part]:
    """Return the parts of `text` as `prose` shows them."""
    if not _SPECIAL.search(text):
        return [text] if text else []
    from wire.text.rules import PROSE

    return PROSE.parts(text)


def literal_parts(text: str) -> list[Part]:
    """Return the parts of `text` as `literal` shows them."""
    if not _SPECIAL.search(text):
        return [text] if text else []
    from wire.text.rules import LITERAL

    return LITERAL.parts(text)


def _one_line(text: str) -> str:
    return text.replace("\n", "<U+000A>").replace("\t", "<U+0009>")
