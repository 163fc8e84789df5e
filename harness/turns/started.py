"""The start of this container, as the hive describes it in harness.json."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.jsonvalues import JsonObject

log = logging.getLogger(__name__)

CHANGED: Final = frozenset({"deploy", "update", "rebuild"})
"""The starts of which `wake_after_deploy` makes a turn."""


@dataclass(frozen=True)
class Started:
    """A start of the container.

    Attributes:
        at: Its time, in seconds since 1970; it identifies the start.
        verb: The command or event: start, restart, deploy, update, rebuild, crash, wake or boot.
        by: The one who ordered it: operator, manager or system.
        changes: The description of the changes; others wrote it.
    """

    at: int
    verb: str = ""
    by: str = ""
    changes: str = ""


class Starts:
    """The start that the agent has not been told of yet.

    Args:
        described: the object `started` of harness.json.
        state: the agent's directory, in which the start that was told last is kept.
        is_new: whether the agent has no session; then its first start is nothing to tell.
    """

    def __init__(self, described: JsonObject, state: Path, *, is_new: bool) -> None:
        self._file = state / "hyperhive-told-start"
        self._start = parsed(described)
        if self._start and (told := self._told()) == self._start.at:
            self._start = None
        elif self._start and told is None and is_new:
            self.told()

    @property
    def untold(self) -> Started | None:
        """The start, until `told` is called."""
        return self._start

    def told(self) -> None:
        """Take note that the agent has been told."""
        if self._start is None:
            return
        try:
            self._file.write_text(f"{self._start.at}\n", encoding="utf-8")
        except OSError as exc:
            log.warning("cannot save that the agent was told of its start: %s", exc)
        self._start = None

    def _told(self) -> int | None:
        try:
            return int(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


def parsed(described: JsonObject) -> Started | None:
    """Return the start that the object `started` of harness.json describes, if there is one."""
    at = described.get("at")
    if not isinstance(at, int | float) or isinstance(at, bool) or at <= 0:
        return None
    verb, by, changes = (str(described.get(key) or "") for key in ("verb", "by", "changes"))
    return Started(int(at), verb, by, changes)
