"""The check that the clock has not jumped: `python -m services.clock`.

hive-clock.service runs it before anything is deleted for its age. A clock that is 40 days ahead,
as at a boot with an empty battery, would make all data old. The check compares the clock with the
last run. A difference that neither the time since then nor a synchronization explains fails the
check, until the clock is right, or has run like that for a day. The operator's `hivectl vacuum`
deletes without this check.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from services.directories import state_directory

DAY: Final = 86400.0
TOLERANCE: Final = DAY
"""Seconds of a jump that does no harm; keep_days are days."""
PATIENCE: Final = DAY
"""Seconds after which a clock that runs on evenly is believed."""
BUSCTL_SECONDS: Final = 30


class Moment(NamedTuple):
    """A reading of the clocks.

    Attributes:
        wall: seconds since 1970.
        up: seconds since the boot, suspended ones included.
        boot: the id of the boot.
    """

    wall: float
    up: float
    boot: str

    @classmethod
    def now(cls) -> Self:
        """Read the clocks."""
        boot = os.environ.get("HIVE_BOOT_ID", "")
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot)

    def ahead_of(self, earlier: Self) -> float:
        """Return the seconds since `earlier` that no running clock has counted.

        After a boot, these are the seconds for which the host seems to have been off.
        """
        if self.boot == earlier.boot:
            return (self.wall - earlier.wall) - (self.up - earlier.up)
        return self.wall - self.up - earlier.wall

    def since(self, earlier: Self) -> float:
        """Return the seconds since `earlier`, by the clock that cannot be set if there was one."""
        if self.boot == earlier.boot:
            return self.up - earlier.up
        return self.wall - earlier.wall


class Memory(NamedTuple):
    """The file of the check.

    Attributes:
        trusted: the last moment that was believed; None before the first run.
        doubted: the first moment of a clock that is not believed; None if there is none.
    """

    trusted: Moment | None = None
    doubted: Moment | None = None


def judge(memory: Memory, now: Moment, synchronized: Callable[[], bool]) -> tuple[Memory, str]:
    """Return what is remembered of this run, and a sentence if the clock is not believed.

    Args:
        memory: what was remembered of the last run.
        now: the clocks.
        synchronized: returns whether a time server has set the clock.
    """
    believed = Memory(trusted=now)
    if memory.trusted is None or (jump := now.ahead_of(memory.trusted)) <= TOLERANCE:
        return believed, ""
    doubted = memory.doubted
    if doubted is None or abs(now.ahead_of(doubted)) > TOLERANCE:
        doubted = now
    if now.since(doubted) >= PATIENCE or synchronized():
        return believed, ""
    return Memory(memory.trusted, doubted), (
        f"The clock is {jump / DAY:.0f} days ahead of the last check, and is not synchronized with"
        " a time server. Nothing is deleted for its age until the clock is set right or"
        " synchronized, or has run on like this for a day. `hivectl vacuum` deletes old data now."
    )


def is_synchronized() -> bool:
    """Return whether the kernel says that a time server has set the clock."""
    name = "org.freedesktop.timedate1"
    ask = ["busctl", "get-property", name, "/org/freedesktop/timedate1", name, "NTPSynchronized"]
    try:
        done = subprocess.run(
            ask, capture_output=True, text=True, timeout=BUSCTL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "b true"


def load(file: Path) -> Memory:
    """Return what a file remembers; nothing if it is missing or damaged."""
    try:
        kept = json.loads(file.read_text())
        moments = {
            key: Moment(float(value["wall"]), float(value["up"]), str(value["boot"]))
            for key, value in kept.items()
            if value is not None and key in Memory._fields
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()
    return Memory(**moments)


def save(file: Path, memory: Memory) -> None:
    """Replace the file at once."""
    kept = {key: value and value._asdict() for key, value in memory._asdict().items()}
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(kept))
    partial.replace(file)


def main() -> int:
    """Check the clock; return the exit status."""
    file = state_directory("clock") / "clock.json"
    memory, doubt = judge(load(file), Moment.now(), is_synchronized)
    save(file, memory)
    if doubt:
        sys.stderr.write(f"{doubt}\n")
    return int(bool(doubt))


if __name__ == "__main__":
    sys.exit(main())
