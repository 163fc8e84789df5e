"""The progress of a fetch, from the lines that git prints."""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

_LINE: Final = re.compile(
    r"(?:remote: )?(Counting objects|Compressing objects|Receiving objects|Unpacking objects"
    r"|Resolving deltas|Checking connectivity): +[0-9]{1,3}% \(([0-9]{1,18})/([0-9]{1,18})\)"
)


class Step(NamedTuple):
    """A point on the way of a fetch."""

    phase: str
    """Words of git."""
    done: int
    total: int


class Progress:
    """The steps of one fetch: a step for each whole percent, so that a bus can take them."""

    def __init__(self, tell: Callable[[Step], None]) -> None:
        """Call `tell` with each step."""
        self._tell = tell
        self._last = ("", -1)

    def hear(self, line: str) -> None:
        """Take a line of git, which may be any text of the other side."""
        found = _LINE.match(line)
        if found is None:
            return
        step = Step(found[1], int(found[2]), int(found[3]))
        percent = 100 * step.done // step.total if step.total else 100
        if (step.phase, percent) != self._last:
            self._last = (step.phase, percent)
            self._tell(step)
