"""The control group of a turn's commands: no process outlives the turn."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)


class TurnCgroup:
    """A control group below the harness's own. Claude Code and its relay are not in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, hierarchy: Path, own: Path = Path("/proc/self/cgroup")) -> "TurnCgroup | None":
        """Create the group if it is missing; log it and return None if that is not possible.

        Args:
            hierarchy: the mount point of cgroup v2.
            own: the file that names the group of this process.
        """
        try:
            lines = own.read_text(encoding="utf-8").splitlines()
            mine = next(line[3:] for line in lines if line.startswith("0::"))
            path = hierarchy / mine.lstrip("/") / "turn"
            path.mkdir(exist_ok=True)
            if not (path / "cgroup.kill").exists():
                path.rmdir()
                raise OSError(f"{path} has no cgroup.kill: it is not a control group of version 2")
        except (OSError, StopIteration) as exc:
            log.warning("commands may outlive their turn: %s", exc or "there is no cgroup v2")
            return None
        return cls(path)

    @property
    def path(self) -> Path:
        """The directory of the group."""
        return self._path

    def kill(self) -> None:
        """Kill all processes in the group and below; the kernel also catches those being forked."""
        try:
            if "populated 1" in (self._path / "cgroup.events").read_text(encoding="utf-8"):
                left = len((self._path / "cgroup.procs").read_text(encoding="utf-8").split())
                (self._path / "cgroup.kill").write_text("1", encoding="utf-8")
                log.info("killed processes that the turn had left running: %d", left)
        except OSError as exc:  # the agent is root here, and may have removed the group
            log.warning("cannot kill the processes that the turn has left running: %s", exc)
