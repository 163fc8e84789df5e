"""The control groups of Claude Code and of a turn's commands: no process outlives its group."""

import logging
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

TURN: Final = "turn"
"""The group of a turn's commands, killed at the end of the turn."""

CLAUDE: Final = "claude"
"""The group of Claude Code, its relay and its MCP servers, killed when Claude Code is closed."""


class Cgroup:
    """A control group below the harness's own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(
        cls, hierarchy: Path, name: str, own: Path = Path("/proc/self/cgroup")
    ) -> "Cgroup | None":
        """Create the group if it is missing; log it and return None if that is not possible.

        Args:
            hierarchy: the mount point of cgroup v2.
            name: the name of the group.
            own: the file that names the group of this process.
        """
        try:
            lines = own.read_text(encoding="utf-8").splitlines()
            mine = next(line[3:] for line in lines if line.startswith("0::"))
            path = hierarchy / mine.lstrip("/") / name
            path.mkdir(exist_ok=True)
            if not (path / "cgroup.kill").exists():
                path.rmdir()
                raise OSError(f"{path} has no cgroup.kill: it is not a control group of version 2")
        except (OSError, StopIteration) as exc:
            reason = exc or "there is no cgroup v2"
            log.warning("processes of the group %r may outlive it: %s", name, reason)
            return None
        return cls(path)

    @property
    def path(self) -> Path:
        """The directory of the group."""
        return self._path

    def add(self, pid: int) -> None:
        """Move a process into the group; a failure is logged."""
        try:
            (self._path / "cgroup.procs").write_text(str(pid), encoding="utf-8")
        except OSError as exc:  # it has ended, or the agent, who is root here, removed the group
            log.warning("cannot move a process to the group %r: %s", self._path.name, exc)

    def kill(self) -> int:
        """Kill all processes in the group and below; the kernel also catches those being forked.

        Returns:
            The number of processes directly in the group that were running.
        """
        try:
            if "populated 1" in (self._path / "cgroup.events").read_text(encoding="utf-8"):
                left = len((self._path / "cgroup.procs").read_text(encoding="utf-8").split())
                (self._path / "cgroup.kill").write_text("1", encoding="utf-8")
                return left
        except OSError as exc:  # the agent is root here, and may have removed the group
            log.warning("cannot kill the processes of the group %r: %s", self._path.name, exc)
        return 0
