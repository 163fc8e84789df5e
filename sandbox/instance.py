"""A sandbox: its name, its directories on the machine, and its processes."""

import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RUN: Final = Path("/run/hyperhive-sandbox")
STATE: Final = Path("/var/lib/hyperhive-sandbox")
DEFAULT: Final = "hive"
"""The name of the sandbox of `make up`."""

REPO: Final = Path(__file__).resolve().parent.parent
PREFIX: Final = Path("/usr/lib/hyperhive")
"""The directory inside at which the repository's venv is mounted."""

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
MARK: Final = "HYPERHIVE_SANDBOX_INSTANCE"
"""An environment variable of the supervisor, systemd-nspawn and the init inside.

These are the processes that the machine has to find, even if some of them were killed."""


class SandboxError(Exception):
    """A failure of the sandbox; its text tells the operator what to do."""


@dataclass(frozen=True)
class Instance:
    """A sandbox, running or not."""

    name: str

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SandboxError(
                f"{self.name!r} is not a valid name of a sandbox: use a letter, then up to 30 of"
                " a-z, 0-9 and -."
            )

    @property
    def run_dir(self) -> Path:
        """The directory that exists while the sandbox runs."""
        return RUN / self.name

    @property
    def state_dir(self) -> Path:
        """The directory that survives `down --keep`; parts of it are mounted inside."""
        return STATE / self.name

    @property
    def console(self) -> Path:
        """The file with the console's output."""
        return self.run_dir / "console.log"

    @property
    def unit(self) -> str:
        """The unit that runs the sandbox on a machine with systemd."""
        return f"hyperhive-sandbox-{self.name}.service"

    def processes(self) -> list[int]:
        """Return the pids of the supervisor, systemd-nspawn and the init inside."""
        mark = f"{MARK}={self.name}".encode()
        return [
            pid
            for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
            if pid != os.getpid() and mark in _environment(pid)
        ]

    def init(self) -> int | None:
        """Return the pid that PID 1 of the sandbox has on the machine; None unless it is up."""
        try:
            pid = int((self.run_dir / "init").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_init(pid) and pid in self.processes() else None

    def set_init(self, pid: int) -> None:
        """Record that the sandbox is up, and that `pid` is its PID 1."""
        partial = self.run_dir / "init.new"
        partial.write_text(str(pid))
        partial.rename(self.run_dir / "init")


def is_init(pid: int) -> bool:
    """Return whether `pid` is PID 1 of a PID namespace directly below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    inner = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(inner) > 1 and inner[-1] == "1"


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
