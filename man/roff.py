r"""Turn a page in Markdown into roff, with the macros of man(7).

    % NAME(7) | Manual | 2026-11-29     the first line: title, manual, date
    # SECTION                           `##` is a subsection
    term                                a definition; its body is indented by four columns
    :   body
    - item
        code                            indented by four columns
    **bold**, *italic*, `literal`, \*   inline

A paragraph, an item and a body of a definition end with an empty line. A body may hold any block.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Final

_INLINE: Final = re.compile(
    r"\\(?P<char>.)|`(?P<literal>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\*(?P<italic>[^*]+)\*"
)
_TITLE: Final = re.compile(r"% (\S+)\((\d)\) \| (.+) \| (\S+)")
_SENTENCE_END: Final = re.compile(r"(?<=[a-z0-9)`*][.:]) (?=[A-Z`*])")
_DEFINITION: Final = ":   "
_INDENT: Final = " " * 4


def page(markdown: str, version: str) -> str:
    """Return the whole page. Raises ValueError when its first line is not a title."""
    head, _, body = markdown.partition("\n")
    title = _TITLE.fullmatch(head)
    if title is None:
        raise ValueError(f"{head!r} is not a title; write % NAME(7) | Manual | 2026-11-29")
    name, section, manual, date = title.groups()
    lines = [f'.TH "{name}" "{section}" "{date}" "Hyperhive {version}" "{manual}"']
    lines += [".nr HY 0", ".nh", ".ad l"]  # no hyphens in names, no stretched lines
    return "\n".join([*lines, *_blocks(body.split("\n"), leading=True)]) + "\n"


def escape(text: str) -> str:
    """Return Markdown that shows `text` as it is, but for its literals in backquotes."""
    return re.sub(r"`[^`]+`|[*\\]", lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", text)


def _blocks(lines: list[str], *, leading: bool) -> Iterator[str]:
    """Yield the roff of some blocks; `leading`: the first needs no macro of a paragraph."""
    at = 0
    while at < len(lines):
        line = lines[at]
        if not line:
            at += 1
            continue
        if line.startswith("#"):
            macro = ".SS" if line.startswith("##") else ".SH"
            yield f'{macro} "{_inline(line.lstrip("# "))}"'
            at, leading = at + 1, True
            continue
        if line.startswith(_INDENT):
            code, at = _indented(lines, at)
            yield from _code(code, leading=leading)
        elif at + 1 < len(lines) and lines[at + 1].startswith(_DEFINITION):
            body, at = _indented(lines, at + 1)
            yield from [".TP", _inline(line)]
            yield from _definition(body)
        elif line.startswith("- "):
            item, at = _paragraph(lines, at)
            yield from [".IP \\(bu 2", *_filled(item.removeprefix("- "))]
        else:
            text, at = _paragraph(lines, at)
            yield from [] if leading else [".PP"]
            yield from _filled(text)
        leading = False


def _paragraph(lines: list[str], at: int) -> tuple[str, int]:
    end = at + 1
    while end < len(lines) and lines[end] and not lines[end].startswith("- "):
        end += 1
    return " ".join(line.strip() for line in lines[at:end]), end


def _indented(lines: list[str], at: int) -> tuple[list[str], int]:
    """Return the lines that are indented from `at` on, without their indent, and where they end."""
    end = at + 1
    while end < len(lines) and (not lines[end] or lines[end].startswith(_INDENT)):
        end += 1
    found = [line[len(_INDENT) :] for line in lines[at:end]]
    while not found[-1]:
        found.pop()
    return found, end


def _definition(body: list[str]) -> Iterator[str]:
    text, end = _paragraph(body, 0)
    yield from _filled(text)
    if rest := body[end:]:
        yield from [".RS", *_blocks(rest, leading=False), ".RE"]


def _code(lines: list[str], *, leading: bool) -> Iterator[str]:
    yield from [*([] if leading else [".PP"]), ".RS 4", ".EX"]
    yield from (_protected(_literal(line)) for line in lines)
    yield from [".EE", ".RE"]


def _filled(text: str) -> list[str]:
    """Return a paragraph as roff, each sentence on lines of its own."""
    return [
        _protected(line)
        for sentence in _SENTENCE_END.split(text)
        for line in textwrap.wrap(
            _inline(sentence), 80, break_long_words=False, break_on_hyphens=False
        )
    ]


def _protected(line: str) -> str:
    r"""Return `line` so that roff does not take it for a request: `.` and `'` start one."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _inline(text: str) -> str:
    found, done = "", 0
    for match in _INLINE.finditer(text):
        found += _plain(text[done : match.start()])
        done = match.end()
        if (char := match["char"]) is not None:
            found += _plain(char)
        elif (literal := match["literal"]) is not None:
            found += f"\\fB{_literal(literal)}\\fP"
        elif (bold := match["bold"]) is not None:
            found += f"\\fB{_literal(bold)}\\fP"
        else:
            found += f"\\fI{_literal(match['italic'])}\\fP"
    return found + _plain(text[done:])


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace('"', "\\(dq")


def _literal(text: str) -> str:
    """Return text that a reader may copy: its characters stay what they are in ASCII."""
    for char, name in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ('"', "\\(dq")):
        text = text.replace(char, name)
    for char, name in (("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti")):
        text = text.replace(char, name)
    return text
