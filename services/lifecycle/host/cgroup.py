"""The usage of a container, read from its cgroup on request."""

from pathlib import Path
from typing import Final

from wire.records.lifecycle import Usage

ROOT: Final = Path("/sys/fs/cgroup")


def usage(cgroup: str, root: Path = ROOT) -> Usage:
    """Return the current usage, and the peaks since the start of the unit.

    A value is None if the host does not count it, because it lacks the controller or its kernel
    does not know the file.

    Args:
        cgroup: the ControlGroup of the unit; empty when the unit does not run.
        root: the mount point of the cgroup file system.
    """
    if not cgroup:
        return Usage()
    folder = root / cgroup.lstrip("/")
    return Usage(
        cpu=_stat(folder / "cpu.stat").get("usage_usec"),
        memory=_number(folder / "memory.current"),
        memory_peak=_number(folder / "memory.peak"),
        tasks=_number(folder / "pids.current"),
        tasks_peak=_number(folder / "pids.peak"),
    )


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _stat(file: Path) -> dict[str, int]:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
