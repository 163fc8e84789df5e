"""The controllers of the host's control groups, without which limits are not enforced."""

from pathlib import Path
from typing import Final

CONTROLLERS: Final = Path("/sys/fs/cgroup/cgroup.controllers")

CONTROLLER: Final = {
    "memory_high": "memory",
    "memory_max": "memory",
    "cpu_weight": "cpu",
    "cpu_quota": "cpu",
    "tasks_max": "pids",
    "io_weight": "io",
}
"""The controller that enforces each limit; the hive itself enforces `disk_max`."""


def missing(limit: str, file: Path = CONTROLLERS) -> str:
    """Return the controller of a limit, if this host does not have it; otherwise empty.

    Args:
        limit: the name of the limit.
        file: the list of the controllers that the host has.
    """
    controller = CONTROLLER.get(limit, "")
    try:
        found = file.read_text().split()
    except OSError:
        return ""  # control groups of version 1, in which systemd has other means
    return "" if controller in found else controller
