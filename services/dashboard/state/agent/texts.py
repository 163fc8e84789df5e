"""The texts of one event, as blocks that its row shows or folds."""

import re
from itertools import chain, islice
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.agent.checks import text
from services.dashboard.state.tables import Json, Row

MAX_DIFF_LINES: Final = 2_000
CONTEXT_LINES: Final = 3
MAX_DIFF: Final = 256 * 1024
"""Characters of each text that are compared; a harness keeps no longer ones."""

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class Texts:
    """The texts of one row, which share a number of characters."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.cut = False
        """Whether the row does not have all of them."""

    def prose(self, value: object, label: str = "") -> Row:
        """Return a block with a text in any language, without the colours of a terminal."""
        whole = _COLOUR.sub("", text(value)).replace("\r\n", "\n")
        return _block("text", label, whole, shown.message(self._take(whole)))

    def code(self, value: object, label: str = "") -> Row:
        """Return a block with a text that is read exactly."""
        whole = text(value)
        return _block("code", label, whole, shown.exactly(self._take(whole)))

    def diff(self, old: str, new: str, label: str = "") -> Row:
        """Return a block with the lines that were removed and added, and a few around them.

        It takes linear time whatever the texts are, so it finds one change, from the first line
        that differs to the last one. A text that is too long is cut before its lines, each of which
        needs more memory than its characters.
        """
        self.cut = self.cut or max(len(old), len(new)) > MAX_DIFF
        before, after = _lines(old[:MAX_DIFF]), _lines(new[:MAX_DIFF])
        head = _common(before, after)
        tail = _common(before[head:][::-1], after[head:][::-1])
        gone = before[head : len(before) - tail]
        come = after[head : len(after) - tail]
        above = before[max(0, head - CONTEXT_LINES) : head]
        below = before[len(before) - tail :][:CONTEXT_LINES]
        signed = ((" ", above), ("-", gone), ("+", come), (" ", below))
        lines = chain.from_iterable(((sign, line) for line in part) for sign, part in signed)
        rows: list[Json] = []
        for sign, line in islice(lines, MAX_DIFF_LINES):
            if self._left <= 0:
                break
            rows.append({"sign": sign, "text": shown.exactly(self._take(line))})
            self._left -= 1  # empty lines count, too
        more = sum(len(part) for _, part in signed) - len(rows)
        self.cut = self.cut or more > 0
        return {
            "kind": "diff",
            "label": label,
            "lines": rows,
            "added": len(come),
            "removed": len(gone),
            "more": more,
        }

    def _take(self, whole: str) -> str:
        taken = whole[: max(0, self._left)]
        self.cut = self.cut or len(taken) < len(whole)
        self._left -= len(taken)
        return taken


def _block(kind: str, label: str, whole: str, parts: Json) -> Row:
    lines = whole.count("\n") + 1 if whole else 0
    return {"kind": kind, "label": label, "text": parts, "length": len(whole), "lines": lines}


def _lines(whole: str) -> list[str]:
    return whole.removesuffix("\n").split("\n") if whole else []


def _common(first: list[str], second: list[str]) -> int:
    """Return how many items both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
