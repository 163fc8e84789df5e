"""The texts of one event, as blocks that its row shows or folds."""

import re
from itertools import islice
from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.agent.checks import MAX_NAME, cut
from services.dashboard.state.tables import Json, Row
from wire.agent_web.edits import Change

MAX_DIFF_LINES: Final = 2_000

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class Texts:
    """The texts of one row, which share a number of characters."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self.cut = False
        """Whether the row does not have all of them."""

    def prose(self, text: str, label: str = "") -> Row:
        """Return a block with a text in any language, without the colours of a terminal."""
        whole = _COLOUR.sub("", text).replace("\r\n", "\n")
        return _block("text", label, whole, shown.message(self._take(whole)))

    def code(self, whole: str, label: str = "") -> Row:
        """Return a block with a text that is read exactly."""
        return _block("code", label, whole, shown.exactly(self._take(whole)))

    def name(self, whole: str) -> Json:
        """Return a name that is read exactly."""
        return shown.exactly(self._take(cut(whole, MAX_NAME)))

    def diff(self, change: Change) -> Row:
        """Return a block with the lines that were removed and added, and a few around them."""
        label = "every occurrence" if change.everywhere else ""
        rows: list[Json] = []
        for sign, line in islice(change.lines(), MAX_DIFF_LINES):
            if self._left <= 0:
                break
            rows.append({"sign": sign, "text": shown.exactly(self._take(line))})
            self._left -= 1  # empty lines count, too
        more = sum(len(part.lines) for part in change.parts) - len(rows)
        self.cut = self.cut or change.cut or more > 0
        return {
            "kind": "diff",
            "label": label,
            "lines": rows,
            "added": change.count("+"),
            "removed": change.count("-"),
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
