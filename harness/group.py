"""The control group that a turn's commands run in, so that none of them outlives it."""

import logging
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

SHELL: Final = Path(__file__).with_name("shell") / "bash"
"""What Claude Code runs commands with: it joins the group, then is bash."""

VARIABLE: Final = "HIVE_TURN_GROUP"
"""What tells the shell where the group is."""


class Group:
    """A group below the harness's own. Claude Code and its relay are not in it: they stay."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def make(cls, hierarchy: Path, own: Path = Path("/proc/self/cgroup")) -> "Group | None":
        """The group, made when it is missing; None, which is logged, where groups cannot be made.

        Args:
            hierarchy: where cgroup v2 is mounted.
            own: the file that names the group of this process.
        """
        try:
            lines = own.read_text(encoding="utf-8").splitlines()
            mine = next(line[3:] for line in lines if line.startswith("0::"))
            path = hierarchy / mine.lstrip("/") / "turn"
            path.mkdir(exist_ok=True)
            if not (path / "cgroup.kill").exists():
                path.rmdir()
                raise OSError(f"{path} is no control group of version 2 that can be killed")
        except (OSError, StopIteration) as exc:
            log.warning("commands may outlive their turn: %s", exc or "there is no cgroup v2")
            return None
        return cls(path)

    @property
    def environment(self) -> dict[str, str]:
        """What makes Claude Code run its commands in the group."""
        return {"CLAUDE_CODE_SHELL": str(SHELL), VARIABLE: str(self._path)}

    def end(self) -> None:
        """Kill whatever runs in the group and below; the kernel misses none that is just made."""
        try:
            if "populated 1" in (self._path / "cgroup.events").read_text(encoding="utf-8"):
                left = len((self._path / "cgroup.procs").read_text(encoding="utf-8").split())
                (self._path / "cgroup.kill").write_text("1", encoding="utf-8")
                log.info("ended what the turn had left running: %d processes", left)
        except OSError as exc:  # the agent is root here, and may have removed it
            log.warning("cannot end what the turn has left running: %s", exc)
