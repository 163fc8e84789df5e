"""The changes that a call of a tool makes to files, as lines with signs.

    for change in changes(use.input):
        for line in change.lines():
            print(line.sign + line.text)

A terminal, the page of an agent and an exported turn show the same lines. Both texts are the
agent's own, so the comparison takes linear time whatever they are, and each line must be escaped
where it is shown.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from wire.agent_web.values import text

TOOLS: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
"""The tools of Claude Code that change files."""

PATHS: Final = ("file_path", "path", "notebook_path")
"""The arguments of tools that name a file."""

CONTEXT: Final = 3
"""The lines that stay the same, above and below a change."""
MAX_TEXT: Final = 256 * 1024
"""Characters of each text that are compared; a harness keeps no longer ones."""
MAX_PAIRS: Final = 4_000
"""The pairs of lines of one call that are compared; beyond them, an edit is shown as one change
from its first line that differs to its last one."""

_NEW: Final = ("new_string", "new_source", "content")


class Line(NamedTuple):
    """A line of a change."""

    sign: str
    """`+`, `-`, or a space for a line that stays."""
    text: str


class Part(NamedTuple):
    """Lines that have the same sign."""

    sign: str
    lines: Sequence[str]


class Change(NamedTuple):
    """The change that one edit makes."""

    parts: tuple[Part, ...]
    everywhere: bool = False
    """Whether every occurrence is replaced."""
    cut: bool = False
    """Whether a text is longer than MAX_TEXT, so that its end is not here."""

    def lines(self) -> Iterator[Line]:
        """Yield the lines."""
        for sign, lines in self.parts:
            for line in lines:
                yield Line(sign, line)

    def count(self, sign: str) -> int:
        """Return the number of lines with a sign."""
        return sum(len(part.lines) for part in self.parts if part.sign == sign)


def path_of(arguments: Mapping[str, object]) -> str:
    """Return the path of the file that a call of a tool concerns; empty without one."""
    return next((text(arguments[key]) for key in PATHS if key in arguments), "")


def changes(arguments: Mapping[str, object]) -> Iterator[Change]:
    """Yield the change of each edit of a call; `arguments` are any JSON.

    Args:
        arguments: the arguments of a call of one of TOOLS.
    """
    pairs = MAX_PAIRS
    edits = arguments.get("edits")
    given = [edit for edit in edits if isinstance(edit, dict)] if isinstance(edits, list) else []
    for edit in [arguments, *given]:
        new = next((edit[key] for key in _NEW if key in edit), None)
        if new is None and "old_string" not in edit:
            continue
        old, new = text(edit.get("old_string")), text(new)
        parts, compared = _compare(_lines(old), _lines(new), pairs)
        pairs -= compared
        cut = max(len(old), len(new)) > MAX_TEXT
        yield Change(tuple(parts), edit.get("replace_all") is True, cut)


def _compare(before: list[str], after: list[str], most: int) -> tuple[list[Part], int]:
    """Return the parts of a change, and the number of pairs that were compared for it."""
    head = _common(before, after)
    tail = _common(before[head:][::-1], after[head:][::-1])
    gone = before[head : len(before) - tail]
    come = after[head : len(after) - tail]
    pairs = len(gone) * len(come)
    if pairs > most:
        inner, pairs = [Part("-", gone), Part("+", come)], 0
    else:
        inner = list(_inner(gone, come))
    above = before[max(0, head - CONTEXT) : head]
    below = before[len(before) - tail :][:CONTEXT]
    parts = [Part(" ", above), *inner, Part(" ", below)]
    return [part for part in parts if part.lines], pairs


def _inner(gone: list[str], come: list[str]) -> Iterator[Part]:
    matcher = difflib.SequenceMatcher(None, gone, come, autojunk=False)
    for tag, gone_from, gone_to, come_from, come_to in matcher.get_opcodes():
        if tag == "equal":
            yield Part(" ", gone[gone_from:gone_to])
        else:
            yield Part("-", gone[gone_from:gone_to])
            yield Part("+", come[come_from:come_to])


def _common(first: list[str], second: list[str]) -> int:
    """Return how many items both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _lines(whole: str) -> list[str]:
    return whole[:MAX_TEXT].removesuffix("\n").split("\n") if whole else []
