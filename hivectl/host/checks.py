"""Checks of the host: what goes wrong in practice, and the remedy."""

import ctypes
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from hivectl.host import cgroups
from hivectl.output.formats import size

DATA: Final = Path("/var/lib/hyperhive")
INSTANCES: Final = Path("/proc/sys/fs/inotify/max_user_instances")
INSTANCES_EACH: Final = 5
"""The inotify instances that a container may take."""
INSTANCES_OTHERS: Final = 48
"""Those that the host and the hive take."""
LEAST_FREE: Final = 0.05
"""The part of a disk that should be free."""
LEAST_FREE_BYTES: Final = 2**30
AHEAD_US: Final = 60_000_000
"""The microseconds by which a message may seem to come from the future."""

_TIME_ERROR: Final = 5
"""The state in which adjtimex(2) says that the clock is not synchronized."""


class Verdict(StrEnum):
    """The result of a check."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    """It may be intended, and the hive works all the same."""
    SKIPPED = "skipped"


class Check(NamedTuple):
    """The result of one check, in words, and the remedy if it is not good."""

    name: str
    verdict: Verdict
    what: str
    remedy: str = ""


def controllers(file: Path = cgroups.CONTROLLERS) -> Check:
    """Check that the host enforces the limits of agents."""
    limits = [limit for limit in cgroups.CONTROLLER if cgroups.missing(limit, file)]
    if not limits:
        return Check("limits", Verdict.GOOD, "the host enforces all limits of agents")
    missing = sorted({cgroups.missing(limit, file) for limit in limits})
    return Check(
        "limits",
        Verdict.WARNING,
        f"not enforced: {', '.join(limits)}, because the control groups of this host have no "
        f"controllers {', '.join(missing)}",
        "boot with the unified hierarchy (systemd.unified_cgroup_hierarchy=1); in a container, "
        "have its host delegate the controllers",
    )


def inotify(agents: int, file: Path = INSTANCES) -> Check:
    """Check that the containers of all agents can boot: each takes instances of inotify."""
    try:
        most = int(file.read_text())
    except (OSError, ValueError):
        return Check("inotify", Verdict.SKIPPED, f"{file} cannot be read")
    needed = INSTANCES_OTHERS + INSTANCES_EACH * agents
    if most >= needed:
        return Check("inotify", Verdict.GOOD, f"{most} instances, enough for {agents} agents")
    return Check(
        "inotify",
        Verdict.BAD,
        f"{most} instances; {agents} agents may need {needed}, and then a container does not boot",
        f"sysctl -w fs.inotify.max_user_instances={2 * needed}, and the same in /etc/sysctl.d",
    )


def disk(folder: Path = DATA) -> Check:
    """Check that the disk of the hive has room."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return Check("disk", Verdict.SKIPPED, f"{folder}: {error.strerror}")
    free, whole = found.f_bavail * found.f_frsize, max(found.f_blocks * found.f_frsize, 1)
    what = f"{size(free)} of {size(whole)} are free below {folder}"
    if free >= LEAST_FREE_BYTES and free / whole >= LEAST_FREE:
        return Check("disk", Verdict.GOOD, what)
    return Check(
        "disk",
        Verdict.BAD,
        what,
        "`hivectl top` shows the disk use of each agent; `hivectl tombstones` lists the data of "
        "destroyed agents, which `hivectl purge` deletes",
    )


def clock(newest_message: int | None, now: int | None = None) -> Check:
    """Check the clock, by which messages are kept and reminders are due.

    Args:
        newest_message: the time of the newest message, in microseconds since 1970; None: not known.
        now: the time now; None: that of this host.
    """
    moment = time.time_ns() // 1000 if now is None else now
    if newest_message is not None and newest_message > moment + AHEAD_US:
        ahead = (newest_message - moment) // 1_000_000
        return Check(
            "clock",
            Verdict.BAD,
            f"the newest message was sent {ahead} s in the future: the clock was set back",
            "set the clock (`timedatectl`); reminders and limits wait for the time to come",
        )
    if not _is_synchronized():
        return Check(
            "clock",
            Verdict.WARNING,
            "no time server sets the clock of this host",
            "`timedatectl set-ntp true`, if this host has systemd-timesyncd or chrony",
        )
    return Check("clock", Verdict.GOOD, "a time server sets it")


def _is_synchronized() -> bool:
    """Return whether the kernel says that something keeps its clock right."""
    # struct timex has 208 bytes; `modes` of 0 changes nothing, and needs no right.
    buffer = ctypes.create_string_buffer(208)
    return bool(ctypes.CDLL(None, use_errno=True).adjtimex(buffer) not in (-1, _TIME_ERROR))
