"""What a container uses now, read from its cgroup when somebody asks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")

_FILES: Final[Mapping[str, str]] = {
    "memory": "memory.current",
    "memory_peak": "memory.peak",
    "tasks": "pids.current",
    "tasks_peak": "pids.peak",
}


def usage(cgroup: str, root: Path = ROOT) -> dict[str, int]:
    """Processor time in microseconds (`cpu`), bytes and tasks, now and at most since its start.

    What the host does not count (a controller it does not have, a file its kernel does not know) is
    left out. `cgroup`: the unit's ControlGroup; empty when it does not run, then so is the answer.
    """
    if not cgroup:
        return {}
    folder = root / cgroup.lstrip("/")
    found = {"cpu": _stat(folder / "cpu.stat").get("usage_usec")}
    found |= {key: _number(folder / name) for key, name in _FILES.items()}
    return {key: value for key, value in found.items() if value is not None}


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
