"""The last start of a container, of which the agent is told."""

import time
from dataclasses import asdict, dataclass, replace
from typing import Final

from services.lifecycle.agents.turn import one_line

BOOT: Final = "boot"
CRASH: Final = "crash"
WAKE: Final = "wake"

SYSTEM: Final = "system"
"""The hive itself, as the one who ordered a start."""

MAX_CHANGES: Final = 2000


@dataclass(frozen=True, slots=True)
class Start:
    """The reason of a container's start, as harness.json has it in `started`."""

    at: int
    """Seconds since 1970; 0 for an agent that was never started."""
    verb: str
    """The verb of the job, or `boot`, `crash` or `wake`."""
    by: str
    """The one who ordered it: `operator`, `manager` or `system`."""
    changes: str = ""
    """The changes in words; empty for none."""
    waits: bool = False
    """Whether the changes came while the container was down, and its next start has them."""

    @classmethod
    def now(cls, verb: str, by: str, changes: str = "") -> "Start":
        """Return a start at this time."""
        return cls(int(time.time()), verb, by, one_line(changes, MAX_CHANGES))

    @classmethod
    def of(cls, values: dict[str, int | str]) -> "Start | None":
        """Return the start that `values` describe, as they are stored."""
        if not values:
            return None
        return cls(
            int(values["at"]),
            str(values["verb"]),
            str(values["by"]),
            str(values["changes"]),
            bool(values["waits"]),
        )

    def values(self) -> dict[str, int | str]:
        """Return the values to store."""
        return {**asdict(self), "waits": int(self.waits)}

    def for_harness(self) -> dict[str, int | str]:
        """Return the value of `started` in harness.json."""
        return {"at": self.at, "verb": self.verb, "by": self.by, "changes": self.changes}

    def after(self, before: "Start | None") -> "Start":
        """Return this start, with the changes that `before` has left for the next start."""
        if before is None or not before.waits or self.waits:
            return self
        return replace(before, at=self.at, waits=False)
