"""The processes that may be killed, found through their control groups, without the bus."""

import os
import signal
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from wire import names

GROUPS: Final = Path("/sys/fs/cgroup/hive.slice")


class Victim(StrEnum):
    """A kind of process to kill."""

    BROKER = "broker"
    ENDPOINT = "endpoint"
    HARNESS = "harness"
    CLAUDE = "claude"
    RELAY = "relay"
    CONTAINER = "container"
    NSPAWN = "nspawn"
    LIFECYCLE = "lifecycle"
    CLIENT = "client"


WEIGHTS: Final[Mapping[Victim, int]] = {
    Victim.BROKER: 12,
    Victim.ENDPOINT: 10,
    Victim.HARNESS: 4,
    Victim.CLAUDE: 3,
    Victim.RELAY: 3,
    Victim.CONTAINER: 2,
    Victim.NSPAWN: 1,
    Victim.LIFECYCLE: 3,
    Victim.CLIENT: 8,
}
"""The relative frequency of each. A container takes seconds to come back."""

IN_HARNESS: Final[Mapping[Victim, bytes]] = {
    Victim.HARNESS: b"-P\0-m\0harness",
    Victim.CLAUDE: b"/claude\0",
    Victim.RELAY: b"socat\0",
}
"""A part of the command line that identifies each process in hive-harness.service."""


def group(victim: Victim, agent: str) -> Path:
    """Return the control group that has the victim alone, or with others of its kind."""
    agents = GROUPS / "hive-agents.slice"
    container = agents / f"systemd-nspawn@{names.machine_name(agent)}.service"
    match victim:
        case Victim.BROKER | Victim.LIFECYCLE:
            return GROUPS / "hive-services.slice" / f"hive-{victim}.service"
        case Victim.ENDPOINT:
            return agents / names.endpoint_unit(agent)
        case Victim.CONTAINER:
            return container / "payload/init.scope"
        case Victim.NSPAWN:
            return container / "supervisor"
    return container / "payload/system.slice/hive-harness.service"


def find(victim: Victim, agent: str) -> int | None:
    """Return the process to kill, or None when there is none now."""
    try:
        pids = [int(pid) for pid in (group(victim, agent) / "cgroup.procs").read_text().split()]
        mark = IN_HARNESS.get(victim, b"")
        return next(pid for pid in pids if mark in Path(f"/proc/{pid}/cmdline").read_bytes())
    except (OSError, StopIteration):
        return None


def kill(pid: int) -> bool:
    """Kill it; return whether there was a process to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
